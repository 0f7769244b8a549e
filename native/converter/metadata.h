#pragma once

#include "archive.h"

namespace berth::converter {

/// Makes an Entry of what the headers say, as an image can hold it: the path cleaned, whiteouts told apart,
/// owner, mode, time and extended attributes. Throws BadHeader for what it cannot hold.
void interpret(const TarHeader& header, const PaxHeader& pax, TarEntry& to);

}  // namespace berth::converter

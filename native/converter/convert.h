#pragma once

#include "blob.h"
#include "layer.h"
#include "options.h"
#include "output.h"

namespace berth::converter {

/// Reads the archive and writes its files' data to the output as compressed blocks. Throws Fault.
Layer convert(Blob& blob, Output& output, const Options& options);

}  // namespace berth::converter

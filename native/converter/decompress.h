#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace berth::converter {

/// The next bytes of the input, valid until the next call; none at its end.
using Input = std::function<std::string_view()>;

/// Takes bytes. False where no more are wanted.
using Sink = std::function<bool(std::string_view)>;

/// Undoes the compression that the input's first bytes show: gzip, zstd, xz, bzip2, or none. Checks what the
/// format has to check. Throws kArchive for damaged input.
void decompress(const Input& input, const Sink& sink);

}  // namespace berth::converter

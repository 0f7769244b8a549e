#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::converter {

constexpr size_t kTarBlock = 512;

/// Thrown for a header that no tar writes; TarReader says whose it is.
struct BadHeader {
    std::string why;
};

/// One header block: ustar (POSIX.1), its variants of GNU tar and star, or the older tar without a magic.
struct TarHeader {
    char type = '0';
    std::string name;
    std::string link;
    int64_t mode = 0;
    int64_t uid = 0;
    int64_t gid = 0;
    int64_t size = 0;
    int64_t mtime = 0;
    /// Written by GNU tar, or in its way.
    bool gnu = false;
};

/// Throws BadHeader, for a wrong checksum too.
TarHeader parse_header(std::string_view block);

/// Is it one of the blocks of zeros that end an archive?
bool is_end(std::string_view block);

/// A number as headers have them: octal digits between spaces and NULs, or base 256 where the first bit is
/// set.
int64_t parse_number(std::string_view field);

/// A whole non-negative decimal number, as pax records have them.
int64_t parse_decimal(std::string_view text);

}  // namespace berth::converter

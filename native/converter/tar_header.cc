#include "tar_header.h"

#include <charconv>

namespace berth::converter {
namespace {

/// Up to the first NUL.
std::string text(std::string_view field) {
    return std::string(field.substr(0, field.find('\0')));
}

bool has_valid_checksum(std::string_view block) {
    constexpr size_t kStart = 148;
    constexpr size_t kEnd = 156;
    int64_t sum = 0;
    // Some old tars summed up signed characters.
    int64_t signed_sum = 0;
    for (size_t i = 0; i < kTarBlock; ++i) {
        const char c = i >= kStart && i < kEnd ? ' ' : block[i];
        sum += static_cast<unsigned char>(c);
        signed_sum += static_cast<signed char>(c);
    }
    const int64_t stored = parse_number(block.substr(kStart, kEnd - kStart));
    return stored == sum || stored == signed_sum;
}

int64_t parse_base_256(std::string_view field) {
    const bool negative = (static_cast<unsigned char>(field[0]) & 0x40U) != 0;
    // Two's complement, but for the marking bit.
    uint64_t value = negative ? UINT64_MAX : 0;
    for (size_t i = 0; i < field.size(); ++i) {
        unsigned byte = static_cast<unsigned char>(field[i]);
        if (i == 0) byte = negative ? byte | 0x80U : byte & 0x7FU;
        const uint64_t dropped = value >> 55U;
        if (dropped != (negative ? UINT64_MAX >> 55U : 0)) throw BadHeader{"a number is too large"};
        value = value << 8U | byte;
    }
    return static_cast<int64_t>(value);
}

}  // namespace

int64_t parse_number(std::string_view field) {
    if ((static_cast<unsigned char>(field[0]) & 0x80U) != 0) return parse_base_256(field);
    constexpr std::string_view kPadding(" \0", 2);
    const size_t start = field.find_first_not_of(kPadding);
    if (start == std::string_view::npos) return 0;
    const std::string_view digits = field.substr(start, field.find_first_of(kPadding, start) - start);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
    if (error != std::errc() || end != digits.data() + digits.size() || digits[0] == '-')
        throw BadHeader{"a header is damaged"};
    return value;
}

int64_t parse_decimal(std::string_view text) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0)
        throw BadHeader{"its pax header has a number that is none"};
    return value;
}

bool is_end(std::string_view block) {
    return block.find_first_not_of('\0') == std::string_view::npos;
}

TarHeader parse_header(std::string_view block) {
    if (!has_valid_checksum(block)) throw BadHeader{"a header's checksum is wrong"};
    TarHeader header;
    header.type = block[156];
    header.name = text(block.substr(0, 100));
    header.link = text(block.substr(157, 100));
    header.mode = parse_number(block.substr(100, 8));
    header.uid = parse_number(block.substr(108, 8));
    header.gid = parse_number(block.substr(116, 8));
    header.size = parse_number(block.substr(124, 12));
    header.mtime = parse_number(block.substr(136, 12));
    const std::string_view magic = block.substr(257, 8);
    header.gnu = magic == std::string_view("ustar  \0", 8);
    if (magic.substr(0, 6) == std::string_view("ustar\0", 6)) {
        // star keeps times in the last bytes of the prefix.
        const bool star = block.substr(508, 4) == std::string_view("tar\0", 4);
        const std::string prefix = text(block.substr(345, star ? 131 : 155));
        if (!prefix.empty()) header.name.insert(0, prefix + "/");
    }
    return header;
}

}  // namespace berth::converter

#include "pax.h"

#include <algorithm>
#include <charconv>

#include "tar_header.h"

namespace berth::converter {
namespace {

constexpr std::string_view kXattr = "SCHILY.xattr.";
constexpr std::string_view kEncodedXattr = "LIBARCHIVE.xattr.";

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

[[noreturn]] void fail_damaged() {
    throw BadHeader{"its pax header is damaged"};
}

std::string parse_text(std::string_view value) {
    if (value.find('\0') != std::string_view::npos) throw BadHeader{"its pax header has a NUL in a name"};
    return std::string(value);
}

/// Seconds, with a fraction that is left out.
int64_t parse_time(std::string_view value) {
    const bool negative = !value.empty() && value[0] == '-';
    const std::string_view digits = negative ? value.substr(1) : value;
    const size_t point = digits.find('.');
    const bool has_fraction = point != std::string_view::npos;
    if (has_fraction && digits.find_first_not_of("0123456789", point + 1) != std::string_view::npos)
        fail_damaged();
    // Times before 1970 are 1970 in an image anyway.
    const int64_t seconds = parse_decimal(digits.substr(0, point));
    return negative ? -seconds : seconds;
}

/// The name of an extended attribute in libarchive's own records: some bytes are %XX.
std::string decode_percent(std::string_view text) {
    std::string decoded;
    for (size_t i = 0; i < text.size(); ++i) {
        unsigned value = 0;
        const std::string_view digits = text.substr(std::min(i + 1, text.size()), 2);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (text[i] == '%' && error == std::errc() && digits.size() == 2 && end == digits.data() + 2) {
            decoded += static_cast<char>(value);
            i += 2;
        } else {
            decoded += text[i];
        }
    }
    return decoded;
}

/// Base 64, with or without padding.
std::string decode_base_64(std::string_view text) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string decoded;
    unsigned bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        if (c == '=') break;
        const size_t digit = kDigits.find(c);
        if (digit == std::string_view::npos) fail_damaged();
        bits = bits << 6U | static_cast<unsigned>(digit);
        count += 6;
        if (count >= 8) {
            count -= 8;
            decoded += static_cast<char>(bits >> count);
        }
    }
    return decoded;
}

/// Offsets and sizes with commas between them (version 0.1).
std::vector<Extent> parse_map(std::string_view value) {
    std::vector<Extent> map;
    while (!value.empty()) {
        uint64_t numbers[2];
        for (uint64_t& number : numbers) {
            const size_t end = std::min(value.find(','), value.size());
            number = static_cast<uint64_t>(parse_decimal(value.substr(0, end)));
            value.remove_prefix(std::min(end + 1, value.size()));
        }
        map.push_back({numbers[0], numbers[1]});
    }
    return map;
}

void apply_sparse(PaxHeader& header, std::string_view key, std::string_view value) {
    if (key == "name")
        header.sparse_name = parse_text(value);
    else if (key == "realsize" || key == "size")
        header.sparse_size = parse_decimal(value);
    else if (key == "major")
        header.sparse_major = parse_decimal(value);
    else if (key == "minor")
        header.sparse_minor = parse_decimal(value);
    else if (key == "map")
        header.sparse_map = parse_map(value), header.has_sparse_map = true;
    else if (key == "numblocks")
        header.has_sparse_map = true;
    else if (key == "offset")
        header.sparse_map.push_back({static_cast<uint64_t>(parse_decimal(value)), 0});
    else if (key == "numbytes") {
        if (header.sparse_map.empty()) fail_damaged();
        header.sparse_map.back().size = static_cast<uint64_t>(parse_decimal(value));
    }
}

void apply(PaxHeader& header, std::string_view key, std::string_view value) {
    constexpr std::string_view kSparse = "GNU.sparse.";
    if (starts_with(key, kXattr))
        header.xattrs.push_back({std::string(key.substr(kXattr.size())), std::string(value)});
    else if (starts_with(key, kEncodedXattr))
        header.xattrs.push_back({decode_percent(key.substr(kEncodedXattr.size())), decode_base_64(value)});
    // An empty value takes back what an earlier record said.
    else if (value.empty())
        return;
    else if (key == "path")
        header.path = parse_text(value);
    else if (key == "linkpath")
        header.link = parse_text(value);
    else if (key == "size")
        header.size = parse_decimal(value);
    else if (key == "uid")
        header.uid = parse_decimal(value);
    else if (key == "gid")
        header.gid = parse_decimal(value);
    else if (key == "mtime")
        header.mtime = parse_time(value);
    else if (starts_with(key, kSparse))
        apply_sparse(header, key.substr(kSparse.size()), value);
}

}  // namespace

PaxHeader parse_pax(std::string_view records) {
    PaxHeader header;
    while (!records.empty()) {
        size_t length = 0;
        const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
        const auto digits = static_cast<size_t>(end - records.data());
        if (error != std::errc() || length > records.size() || length < digits + 3 || *end != ' ' ||
            records[length - 1] != '\n')
            fail_damaged();
        const std::string_view record = records.substr(digits + 1, length - digits - 2);
        const size_t equals = record.find('=');
        if (equals == std::string_view::npos || equals == 0) fail_damaged();
        apply(header, record.substr(0, equals), record.substr(equals + 1));
        records.remove_prefix(length);
    }
    return header;
}

}  // namespace berth::converter

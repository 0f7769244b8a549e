#include "fault.h"

#include <cstdio>
#include <cstring>

namespace berth::converter {
namespace {

constexpr size_t kMostPrinted = 200;

/// Length of the printable UTF-8 character at the start of `bytes`, or 0 where there is none.
size_t printable_character(std::string_view bytes) {
    const auto at = [&](size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U; };
    const auto follows = [&](size_t i) { return (at(i) & 0xC0U) == 0x80; };
    const unsigned first = at(0);
    if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
    if (first >= 0xC2 && first <= 0xDF && follows(1)) {
        // U+0080 to U+009F are control characters too.
        return first == 0xC2 && at(1) < 0xA0 ? 0 : 2;
    }
    if ((first & 0xF0U) == 0xE0 && follows(1) && follows(2)) {
        const unsigned code = (first & 0xFU) << 12U | (at(1) & 0x3FU) << 6U | (at(2) & 0x3FU);
        const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
        // Marks that change the direction or order of the text after them.
        const bool direction = (code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
                               (code >= 0x2066 && code <= 0x2069);
        return code < 0x800 || surrogate || direction ? 0 : 3;
    }
    if (first >= 0xF0 && first <= 0xF4 && follows(1) && follows(2) && follows(3)) {
        const bool overlong = first == 0xF0 && at(1) < 0x90;
        const bool beyond = first == 0xF4 && at(1) > 0x8F;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

}  // namespace

void fail(Kind kind, std::string why, int error_number) {
    throw Fault{kind, std::move(why), error_number};
}

void fail_storage(const char* call, int error_number) {
    fail(Kind::kStorage, std::string(call) + " of the output: " + strerror(error_number), error_number);
}

const char* name_of(Kind kind) {
    switch (kind) {
        case Kind::kArchive:
            return "archive";
        case Kind::kDigest:
            return "digest";
        case Kind::kLimit:
            return "limit";
        case Kind::kStorage:
            return "storage";
        case Kind::kLayer:
            return "layer";
        case Kind::kInternal:
            break;
    }
    return "internal";
}

std::string printable(std::string_view bytes) {
    std::string text;
    for (size_t i = 0; i < bytes.size();) {
        if (text.size() > kMostPrinted) return text + "…";
        const size_t length = printable_character(bytes.substr(i));
        if (length > 0 && bytes[i] != '\\') {
            text.append(bytes, i, length);
        } else {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(bytes[i]));
            text += bytes[i] == '\\' ? "\\\\" : escaped;
        }
        i += length > 0 ? length : 1;
    }
    return text;
}

std::string quoted(std::string_view bytes) {
    return "'" + printable(bytes) + "'";
}

std::string json(std::string_view text) {
    std::string quotation = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            quotation += '\\';
            quotation += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(c));
            quotation += escaped;
        } else {
            quotation += c;
        }
    }
    return quotation + "\"";
}

}  // namespace berth::converter

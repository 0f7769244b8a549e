#include "entry.h"

#include <algorithm>

#include "fault.h"

namespace berth::converter {
namespace {

/// Little-endian, seven bits a byte, the highest bit set on all but the last.
void append_number(std::string& bytes, uint32_t value) {
    while (value >= 0x80) {
        bytes += static_cast<char>(value | 0x80U);
        value >>= 7U;
    }
    bytes += static_cast<char>(value);
}

[[noreturn]] void fail_damaged() {
    fail(Kind::kLayer, "the layer file's index is damaged");
}

bool has_metadata(Type type) {
    return type != Type::kHardLink && type != Type::kWhiteout && type != Type::kOpaque;
}

}  // namespace

void EntryWriter::add(const Entry& entry) {
    const auto shared = static_cast<size_t>(
        std::mismatch(last_.begin(), last_.end(), entry.path.begin(), entry.path.end()).first -
        last_.begin());
    bytes_ += static_cast<char>(entry.type);
    append_number(bytes_, static_cast<uint32_t>(shared));
    append_number(bytes_, static_cast<uint32_t>(entry.path.size() - shared));
    bytes_.append(entry.path, shared);
    last_ = entry.path;
    if (has_metadata(entry.type)) {
        for (const uint32_t value : {entry.mode, entry.uid, entry.gid, entry.mtime})
            append_number(bytes_, value);
        append_number(bytes_, entry.xattrs + 1);
    }
    if (entry.type == Type::kFile) append_number(bytes_, entry.content + 1);
    if (entry.type == Type::kSymlink || entry.type == Type::kHardLink) {
        append_number(bytes_, static_cast<uint32_t>(entry.target.size()));
        bytes_ += entry.target;
    }
}

uint32_t EntryReader::number() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        const auto byte = static_cast<unsigned char>(take(1)[0]);
        value |= static_cast<uint64_t>(byte & 0x7FU) << shift;
        if ((byte & 0x80U) == 0) {
            if (value > 0xFFFFFFFF) break;
            return static_cast<uint32_t>(value);
        }
    }
    fail_damaged();
}

std::string_view EntryReader::take(size_t count) {
    if (count > rest_.size()) fail_damaged();
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
}

bool EntryReader::next(Entry& entry) {
    if (rest_.empty()) return false;
    const auto type = static_cast<uint8_t>(take(1)[0]);
    if (type > static_cast<uint8_t>(Type::kOpaque)) fail_damaged();
    entry.type = static_cast<Type>(type);
    const size_t shared = number();
    if (shared > entry.path.size()) fail_damaged();
    entry.path.resize(shared);
    const size_t added = number();
    entry.path += take(added);
    if (!is_clean(entry.path)) fail_damaged();
    if (has_metadata(entry.type)) {
        for (uint32_t* field : {&entry.mode, &entry.uid, &entry.gid, &entry.mtime}) *field = number();
        if (entry.mode > 07777) fail_damaged();
        entry.xattrs = number() - 1;
    }
    entry.content = entry.type == Type::kFile ? number() - 1 : kNone;
    entry.target.clear();
    if (entry.type == Type::kSymlink || entry.type == Type::kHardLink) entry.target = take(number());
    const bool is_good_target =
        entry.type == Type::kHardLink
            ? is_clean(entry.target)
            : entry.type != Type::kSymlink || (!entry.target.empty() && entry.target.size() <= kMostPath &&
                                               entry.target.find('\0') == std::string::npos);
    if (!is_good_target) fail_damaged();
    return true;
}

std::string clean(std::string_view path) {
    std::string result;
    for (size_t start = 0; start <= path.size();) {
        const size_t end = std::min(path.find('/', start), path.size());
        const std::string_view name = path.substr(start, end - start);
        start = end + 1;
        if (name.empty() || name == ".") continue;
        if (name == "..") {
            const size_t slash = result.rfind('/');
            result.resize(slash == std::string::npos ? 0 : slash);
        } else {
            if (!result.empty()) result += '/';
            result += name;
        }
    }
    return result;
}

bool is_clean(std::string_view path) {
    if (path.size() > kMostPath || path.find('\0') != std::string_view::npos) return false;
    if (path.empty()) return true;
    for (size_t start = 0; start <= path.size();) {
        const size_t end = std::min(path.find('/', start), path.size());
        const std::string_view name = path.substr(start, end - start);
        if (name.empty() || name.size() > kMostName || name == "." || name == "..") return false;
        start = end + 1;
    }
    return true;
}

}  // namespace berth::converter

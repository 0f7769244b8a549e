#include "archive.h"

#include <unistd.h>

#include <cstring>

namespace berth::packer {
namespace {

constexpr size_t kBlock = 512;

// What fits the fields of a ustar header (POSIX.1-2001, pax): decimal here.
constexpr uint64_t kMostSize = 077777777777;
constexpr uint32_t kMostId = 07777777;
constexpr size_t kMostName = 100;

struct Header {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char target[100];
    char magic[6];
    char version[2];
    char user[32];
    char group[32];
    char major[8];
    char minor[8];
    char prefix[155];
    char rest[12];
};
static_assert(sizeof(Header) == kBlock, "a header is a block");

template <size_t N>
void put_octal(char (&field)[N], uint64_t value) {
    std::snprintf(field, N, "%0*llo", static_cast<int>(N - 1), static_cast<unsigned long long>(value));
}

/// A record of a pax header: its length counts itself.
void put_record(std::string& records, const std::string& key, const std::string& value) {
    const size_t bare = key.size() + value.size() + 3;
    size_t length = bare + std::to_string(bare).size();
    if (std::to_string(length).size() != std::to_string(bare).size()) length++;
    records += std::to_string(length) + " " + key + "=" + value + "\n";
}

/// A field that is cut is told in full by the pax header.
template <size_t N>
void put_text(char (&field)[N], const std::string& text) {
    std::memcpy(field, text.data(), text.size() < N ? text.size() : N);
}

Header header_of(const Entry& entry, char type, uint64_t size) {
    Header header = {};
    put_text(header.name, entry.path);
    put_octal(header.mode, entry.mode & 07777);
    put_octal(header.uid, entry.uid > kMostId ? 0 : entry.uid);
    put_octal(header.gid, entry.gid > kMostId ? 0 : entry.gid);
    put_octal(header.size, size > kMostSize ? 0 : size);
    put_octal(header.mtime, entry.mtime < 0 ? 0 : static_cast<uint64_t>(entry.mtime) & kMostSize);
    header.type = type;
    put_text(header.target, entry.target);
    std::memcpy(header.magic, "ustar", sizeof header.magic);
    std::memcpy(header.version, "00", sizeof header.version);
    std::memset(header.checksum, ' ', sizeof header.checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof header; i++) sum += reinterpret_cast<const unsigned char*>(&header)[i];
    std::snprintf(header.checksum, sizeof header.checksum, "%06o", sum);
    return header;
}

}  // namespace

int Archive::write(const void* bytes, size_t count, Failure& failure) {
    const auto* at = static_cast<const char*>(bytes);
    while (count > 0) {
        const ssize_t written = ::write(output_, at, count);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return failure.set("write", "the archive");
        at += written;
        count -= static_cast<size_t>(written);
    }
    return 0;
}

int Archive::pad(uint64_t size, Failure& failure) {
    static const char zeros[kBlock] = {};
    return write(zeros, (kBlock - size % kBlock) % kBlock, failure);
}

int Archive::add_header(const Entry& entry, std::string extended, uint64_t size, Failure& failure) {
    if (entry.path.size() > kMostName) put_record(extended, "path", entry.path);
    if (entry.target.size() > kMostName) put_record(extended, "linkpath", entry.target);
    if (size > kMostSize) put_record(extended, "size", std::to_string(size));
    if (entry.uid > kMostId) put_record(extended, "uid", std::to_string(entry.uid));
    if (entry.gid > kMostId) put_record(extended, "gid", std::to_string(entry.gid));
    for (const Attribute& attribute : entry.attributes)
        put_record(extended, "SCHILY.xattr." + attribute.name, attribute.value);
    if (!extended.empty()) {
        Entry before;
        before.path = "pax";
        const Header header = header_of(before, 'x', extended.size());
        if (write(&header, sizeof header, failure) < 0) return -1;
        if (write(extended.data(), extended.size(), failure) < 0 || pad(extended.size(), failure) < 0)
            return -1;
    }
    const Header header = header_of(entry, entry.type, size);
    return write(&header, sizeof header, failure);
}

int Archive::add(const Entry& entry, Failure& failure) {
    return add_header(entry, "", entry.size, failure);
}

int Archive::add_sparse(const Entry& entry, const std::vector<Extent>& extents, Failure& failure) {
    std::string map;
    uint64_t data = 0;
    for (const Extent& extent : extents) {
        map.append(map.empty() ? "" : ",").append(std::to_string(extent.offset));
        map.append(",").append(std::to_string(extent.size));
        data += extent.size;
    }
    std::string extended;
    put_record(extended, "GNU.sparse.size", std::to_string(entry.size));
    put_record(extended, "GNU.sparse.numblocks", std::to_string(extents.size()));
    put_record(extended, "GNU.sparse.map", map);
    return add_header(entry, extended, data, failure);
}

int Archive::finish(Failure& failure) {
    static const char zeros[2 * kBlock] = {};
    return write(zeros, sizeof zeros, failure);
}

}  // namespace berth::packer

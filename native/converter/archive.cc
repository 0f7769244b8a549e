#include "archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace berth::converter {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

// What the kernel allows (include/uapi/linux/limits.h).
constexpr size_t kMostXattrName = 255;
constexpr size_t kMostXattrValue = 65536;

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

/// Extended attributes that an image keeps. Those of overlay would steer the overlay that the image is the
/// lower layer of; of the others squashfs stores only user, trusted and security, and labels of another
/// system mean nothing here.
bool is_kept(std::string_view name) {
    return name == "security.capability" ||
           (starts_with(name, "user.") && !starts_with(name, "user.overlay."));
}

std::pair<std::string_view, std::string_view> split(std::string_view path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return {"", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

TarReader::TarReader(Blob& blob) : blob_(blob), archive_(archive_read_new(), archive_read_free) {
    if (!archive_) throw std::bad_alloc();
    archive_read_support_format_tar(archive_.get());
    // Names are bytes: without this, they would be converted from what a header says to the locale's
    // character set.
    archive_read_set_option(archive_.get(), "tar", "hdrcharset", "BINARY");
    const auto on_read = [](archive*, void* data, const void** bytes) -> la_ssize_t {
        auto* self = static_cast<TarReader*>(data);
        // Exceptions must not pass through libarchive.
        try {
            return static_cast<la_ssize_t>(self->blob_.next(*bytes));
        } catch (const Fault& fault) {
            self->fault_ = fault;
            return -1;
        }
    };
    check(archive_read_open(archive_.get(), this, nullptr, on_read, nullptr), nullptr);
}

TarReader::~TarReader() = default;

void TarReader::check(int code, const TarEntry* entry) {
    if (fault_) throw Fault(*fault_);
    if (code == ARCHIVE_OK || code == ARCHIVE_EOF) return;
    const char* words = archive_error_string(archive_.get());
    const std::string why = printable(words != nullptr ? words : "damaged");
    if (archive_errno(archive_.get()) == ENOMEM)
        fail(Kind::kLimit, "out of memory while reading the archive", ENOMEM);
    if (entry != nullptr) fail_entry(*entry, why);
    fail(Kind::kArchive, "this is no tar archive, or a damaged one: " + why);
}

void TarReader::fail_entry(const TarEntry& entry, std::string_view why) const {
    fail(Kind::kArchive, "entry " + quoted(entry.name) + " of the archive: " + std::string(why));
}

bool TarReader::next(TarEntry& entry) {
    archive_entry* from = nullptr;
    const int code = archive_read_next_header(archive_.get(), &from);
    if (code == ARCHIVE_EOF && !fault_) return false;
    if (code == ARCHIVE_WARN && from != nullptr && archive_entry_pathname(from) != nullptr)
        entry.name = archive_entry_pathname(from);
    check(code, code == ARCHIVE_WARN ? &entry : nullptr);
    entry.xattrs.clear();
    entry.entry.target.clear();
    entry.size = 0;
    read_path(from, entry);
    read_type(from, entry);
    read_metadata(from, entry);
    read_xattrs(from, entry);
    return true;
}

void TarReader::read_path(archive_entry* from, TarEntry& to) const {
    const char* name = archive_entry_pathname(from);
    if (name == nullptr) fail(Kind::kArchive, "an entry of the archive has no name");
    to.name = name;
    to.entry.path = clean(name);
    if (!is_clean(to.entry.path))
        fail_entry(to, "its name is too long: a path may have 4095 bytes, and 255 between two slashes");
}

void TarReader::read_type(archive_entry* from, TarEntry& to) const {
    Entry& entry = to.entry;
    const auto [directory, name] = split(entry.path);
    if (name == kOpaque) {
        entry.type = Type::kOpaque;
        entry.path = std::string(directory);
        return;
    }
    if (starts_with(name, kWhiteout)) {
        const std::string gone(name.substr(kWhiteout.size()));
        if (gone.empty() || gone == "." || gone == "..") fail_entry(to, "it is a whiteout of nothing");
        entry.type = Type::kWhiteout;
        entry.path = directory.empty() ? gone : std::string(directory) + "/" + gone;
        return;
    }
    if (const char* link = archive_entry_hardlink(from); link != nullptr) {
        entry.type = Type::kHardLink;
        entry.target = clean(link);
        if (!is_clean(entry.target)) fail_entry(to, "the name that it links to is too long");
        return;
    }
    switch (archive_entry_filetype(from)) {
        case AE_IFREG: {
            entry.type = Type::kFile;
            const int64_t size = archive_entry_size(from);
            if (size < 0) fail_entry(to, "its size is negative");
            to.size = static_cast<uint64_t>(size);
            return;
        }
        case AE_IFLNK: {
            entry.type = Type::kSymlink;
            const char* target = archive_entry_symlink(from);
            entry.target = target != nullptr ? target : "";
            if (entry.target.empty()) fail_entry(to, "it is a symbolic link to nothing");
            if (entry.target.size() > kMostPath) fail_entry(to, "what it links to has more than 4095 bytes");
            return;
        }
        case AE_IFDIR:
            entry.type = Type::kDirectory;
            return;
        case AE_IFIFO:
            entry.type = Type::kFifo;
            return;
        case AE_IFCHR:
        case AE_IFBLK:
            entry.type = Type::kDevice;
            return;
        default:
            fail_entry(to, "its type is unknown");
    }
}

void TarReader::read_metadata(archive_entry* from, TarEntry& to) const {
    const int64_t uid = archive_entry_uid(from);
    const int64_t gid = archive_entry_gid(from);
    // The highest number means "no change" to chown(2), so nobody has it.
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        fail_entry(to,
                   "its owner " + std::to_string(uid) + ":" + std::to_string(gid) + " is no user and group");
    to.entry.uid = static_cast<uint32_t>(uid);
    to.entry.gid = static_cast<uint32_t>(gid);
    to.entry.mode = static_cast<uint32_t>(archive_entry_perm(from)) & 07777U;
    to.entry.mtime = static_cast<uint32_t>(std::clamp<int64_t>(archive_entry_mtime(from), 0, UINT32_MAX));
}

void TarReader::read_xattrs(archive_entry* from, TarEntry& to) const {
    // The kernel has none of these on other kinds of files.
    if (to.entry.type != Type::kFile && to.entry.type != Type::kDirectory) return;
    const char* name = nullptr;
    const void* value = nullptr;
    size_t size = 0;
    archive_entry_xattr_reset(from);
    while (archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
        if (name == nullptr || !is_kept(name)) continue;
        if (strlen(name) > kMostXattrName || size > kMostXattrValue)
            fail_entry(to, "its extended attribute " + quoted(name) + " is larger than Linux allows");
        to.xattrs.push_back({name, std::string(static_cast<const char*>(value), size)});
    }
}

std::optional<TarReader::Data> TarReader::next_data(const TarEntry& entry) {
    Data data;
    int64_t offset = 0;
    const int code = archive_read_data_block(archive_.get(), &data.bytes, &data.size, &offset);
    check(code, &entry);
    if (code == ARCHIVE_EOF) return {};
    if (offset < 0 || static_cast<uint64_t>(offset) > entry.size ||
        data.size > entry.size - static_cast<uint64_t>(offset))
        fail_entry(entry, "it has data beyond its end");
    data.offset = static_cast<uint64_t>(offset);
    return data;
}

}  // namespace berth::converter

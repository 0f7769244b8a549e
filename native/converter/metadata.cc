#include "metadata.h"

#include <algorithm>

#include "fault.h"

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

/// Is it a whiteout, whatever its header says it is?
bool interpret_whiteout(Entry& entry) {
    const auto [directory, name] = split(entry.path);
    if (name == kOpaque) {
        entry.type = Type::kOpaque;
        entry.path = std::string(directory);
        return true;
    }
    if (!starts_with(name, kWhiteout)) return false;
    const std::string gone(name.substr(kWhiteout.size()));
    if (gone.empty() || gone == "." || gone == "..") throw BadHeader{"it is a whiteout of nothing"};
    entry.type = Type::kWhiteout;
    entry.path = directory.empty() ? gone : std::string(directory) + "/" + gone;
    return true;
}

Type type_of(const TarHeader& header, const std::string& name) {
    switch (header.type) {
        case '\0':
            // Before there was a type for directories, the slash told.
            return !name.empty() && name.back() == '/' ? Type::kDirectory : Type::kFile;
        case '0':
        case '7':
        case 'S':
            return Type::kFile;
        case '1':
            return Type::kHardLink;
        case '2':
            return Type::kSymlink;
        case '3':
        case '4':
            return Type::kDevice;
        case '5':
            return Type::kDirectory;
        case '6':
            return Type::kFifo;
        default:
            throw BadHeader{"its type " + quoted(std::string(1, header.type)) + " is unknown"};
    }
}

uint32_t id(int64_t value) {
    // The highest number means "no change" to chown(2), so nobody has it.
    if (value < 0 || value >= UINT32_MAX)
        throw BadHeader{"its owner or group " + std::to_string(value) + " is no user or group"};
    return static_cast<uint32_t>(value);
}

void interpret_target(Entry& entry, const std::string& link) {
    if (entry.type == Type::kHardLink) {
        entry.target = clean(link);
        if (!is_clean(entry.target)) throw BadHeader{"the name that it links to is too long"};
    } else if (entry.type == Type::kSymlink) {
        if (link.empty()) throw BadHeader{"it is a symbolic link to nothing"};
        if (link.size() > kMostPath) throw BadHeader{"what it links to has more than 4095 bytes"};
        entry.target = link;
    }
}

void interpret_xattrs(const PaxHeader& pax, TarEntry& to) {
    // The kernel has none of these on other kinds of files.
    if (to.entry.type != Type::kFile && to.entry.type != Type::kDirectory) return;
    for (const Xattr& xattr : pax.xattrs) {
        if (!is_kept(xattr.name)) continue;
        const bool has_name = xattr.name != "user." && xattr.name.find('\0') == std::string::npos;
        if (!has_name || xattr.name.size() > kMostXattrName || xattr.value.size() > kMostXattrValue)
            throw BadHeader{"its extended attribute " + quoted(xattr.name) + " is not one that Linux allows"};
        to.xattrs.push_back(xattr);
    }
}

}  // namespace

void interpret(const TarHeader& header, const PaxHeader& pax, TarEntry& to) {
    Entry& entry = to.entry;
    to.xattrs.clear();
    entry.target.clear();
    entry.path = clean(to.name);
    if (!is_clean(entry.path))
        throw BadHeader{"its name is too long: a path may have 4095 bytes, and 255 between two slashes"};
    if (interpret_whiteout(entry)) return;
    entry.type = type_of(header, to.name);
    interpret_target(entry, header.link);
    entry.mode = static_cast<uint32_t>(header.mode) & 07777U;
    entry.uid = id(header.uid);
    entry.gid = id(header.gid);
    entry.mtime = static_cast<uint32_t>(std::clamp<int64_t>(header.mtime, 0, UINT32_MAX));
    interpret_xattrs(pax, to);
}

}  // namespace berth::converter

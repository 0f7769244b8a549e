#include "skeleton.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../sys/mount.h"
#include "identity.h"
#include "paths.h"

namespace berth::builder {
namespace {

// An image's passwd or group file. More than this is no such file.
constexpr size_t kMostImageFileBytes = size_t{1} << 20;

const char* relative(const std::string& resolved) {
    return resolved == "/" ? "." : resolved.c_str() + 1;
}

int write_all(int fd, const std::string& text, const std::string& name, Failure& failure) {
    size_t written = 0;
    while (written < text.size()) {
        const ssize_t count = write(fd, text.data() + written, text.size() - written);
        if (count < 0) return failure.set("write", name.c_str());
        written += static_cast<size_t>(count);
    }
    return 0;
}

}  // namespace

Skeleton::Skeleton(const Spec& spec, int layer, int image) : spec_(spec), layer_(layer), image_(image) {}

int Skeleton::resolve(const std::string& path, std::string& resolved, Failure& failure) {
    if (path.empty() || path[0] != '/') return failure.set("openat2", path.c_str(), EINVAL);
    const LookUpAsUser as_user(spec_, failure);
    if (as_user.failed()) return -1;
    std::string existing = path;
    std::string missing;
    for (;;) {
        const Fd found = open_in_root(image_, existing.c_str(), O_PATH, true, failure);
        if (found) {
            if (name_in(image_, found.get(), resolved, failure) < 0) return -1;
            if (!missing.empty() && resolved == "/") resolved.clear();
            resolved.append(missing);
            return 0;
        }
        if (failure.error != ENOENT || existing == "/")
            return failure.set("openat2", path.c_str(), failure.error);
        // What is missing is made by its name, which therefore must not lead anywhere else.
        const std::string last = existing.substr(existing.rfind('/'));
        if (last == "/." || last == "/..") return failure.set("openat2", path.c_str(), ENOENT);
        const std::string parent = parent_of(existing);
        missing.insert(0, existing, parent == "/" ? 0 : parent.size());
        existing = parent;
    }
}

int Skeleton::copy_attributes(const char* path, int target, Failure& failure) {
    struct stat status = {};
    {
        const LookUpAsUser as_user(spec_, failure);
        if (as_user.failed()) return -1;
        Failure ignored;
        const Fd original = open_in_root(image_, path, O_PATH | O_NOFOLLOW, false, ignored);
        if (!original || fstat(original.get(), &status) < 0) return 0;  // only in the skeleton
    }
    // A link that leads nowhere in the image hides nothing: the directory takes its place.
    if (S_ISLNK(status.st_mode)) return 0;
    if (!S_ISDIR(status.st_mode)) return failure.set("fstat", path, ENOTDIR);
    // An owner without a mapping cannot be given away: the directory then stays the user's, on a read-only
    // layer.
    if (fchown(target, status.st_uid, status.st_gid) < 0 && errno != EINVAL && errno != EPERM)
        return failure.set("fchown", path);
    if (fchmod(target, status.st_mode & 07777) < 0) return failure.set("fchmod", path);
    return 0;
}

int Skeleton::copy_top(Failure& failure) {
    return copy_top(layer_, failure);
}

int Skeleton::copy_top(int directory, Failure& failure) {
    return copy_attributes("/", directory, failure);
}

int Skeleton::make_directories(const std::string& resolved, Failure& failure) {
    if (resolved == "/") return 0;
    for (size_t slash = resolved.find('/', 1);; slash = resolved.find('/', slash + 1)) {
        const std::string prefix = resolved.substr(0, slash);
        if (mkdirat(layer_, relative(prefix), 0755) == 0) {
            const Fd made(openat(layer_, relative(prefix), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
            if (!made) return failure.set("open", prefix.c_str());
            if (copy_attributes(prefix.c_str(), made.get(), failure) < 0) return -1;
        } else if (errno != EEXIST) {
            return failure.set("mkdir", prefix.c_str());
        }
        if (slash == std::string::npos) return 0;
    }
}

int Skeleton::make_mount_point(const std::string& resolved, bool is_directory, Failure& failure) {
    if (is_directory) return make_directories(resolved, failure);
    if (make_directories(parent_of(resolved), failure) < 0) return -1;
    const Fd file(openat(layer_, relative(resolved), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444));
    if (!file) return failure.set("open", resolved.c_str());
    return 0;
}

int Skeleton::read_image_file(const std::string& resolved, std::string& content, Failure& failure) {
    const LookUpAsUser as_user(spec_, failure);
    if (as_user.failed()) return -1;
    Failure absent;
    // O_NONBLOCK: an image may have a FIFO there, and opening one waits for a writer.
    const Fd file = open_in_root(image_, resolved.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW, false, absent);
    struct stat status = {};
    if (!file || fstat(file.get(), &status) < 0 || !S_ISREG(status.st_mode)) return 0;
    if (static_cast<size_t>(status.st_size) > kMostImageFileBytes)
        return failure.set("read", resolved.c_str(), EFBIG);
    content.resize(static_cast<size_t>(status.st_size));
    size_t length = 0;
    while (length < content.size()) {
        const ssize_t count = read(file.get(), content.data() + length, content.size() - length);
        if (count < 0) return failure.set("read", resolved.c_str());
        if (count == 0) break;
        length += static_cast<size_t>(count);
    }
    content.resize(length);
    return 0;
}

int Skeleton::resolve_file(const File& file, std::string& resolved, Failure& failure) {
    if (!file.replace && file.target.empty()) return resolve(file.path, resolved, failure);
    // The image's own link of that name is not followed: this takes its place.
    const size_t slash = file.path.rfind('/');
    if (slash == std::string::npos) return failure.set("openat2", file.path.c_str(), EINVAL);
    if (resolve(parent_of(file.path), resolved, failure) < 0) return -1;
    if (resolved == "/") resolved.clear();
    resolved.append(file.path, slash);
    return 0;
}

int Skeleton::write_file(const File& file, Failure& failure) {
    std::string resolved;
    if (resolve_file(file, resolved, failure) < 0) return -1;
    if (make_directories(parent_of(resolved), failure) < 0) return -1;
    written_.push_back(resolved);
    if (!file.target.empty()) {
        if (symlinkat(file.target.c_str(), layer_, relative(resolved)) == 0) return 0;
        return failure.set("symlink", file.path.c_str());
    }
    std::string image_content;
    if (file.append_image && read_image_file(resolved, image_content, failure) < 0) return -1;
    const Fd out(
        openat(layer_, relative(resolved), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, file.mode));
    if (!out) return failure.set("open", file.path.c_str());
    if (write_all(out.get(), file.content, file.path, failure) < 0) return -1;
    return write_all(out.get(), image_content, file.path, failure);
}

bool Skeleton::image_has_directory(const char* path) {
    Failure ignored;
    const LookUpAsUser as_user(spec_, ignored);
    if (as_user.failed()) return false;
    return static_cast<bool>(open_in_root(image_, path, O_PATH | O_DIRECTORY, true, ignored));
}

int Skeleton::adopt_directory(const char* path, mode_t mode, Failure& failure) {
    if (make_directories(path, failure) < 0) return -1;
    // What the image has in there nobody could reach, overlayfs neither, which looks for it: so it is told
    // not to. Without such attributes on tmpfs (before Linux 6.6) the directory stays out of reach.
    if ((mode & S_IXOTH) != 0) return 0;
    const Fd made(openat(layer_, path + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!made) return failure.set("open", path);
    if (fsetxattr(made.get(), "user.overlay.opaque", "y", 1, 0) < 0 && errno != EOPNOTSUPP)
        return failure.set("fsetxattr", path);
    return 0;
}

int Skeleton::adopt(const char* path, Failure& failure) {
    constexpr unsigned kUnmapped = 65534;  // proc(5), /proc/sys/kernel/overflowuid
    struct stat status = {};
    {
        const LookUpAsUser as_user(spec_, failure);
        if (as_user.failed()) return -1;
        Failure absent;
        const Fd original = open_in_root(image_, path, O_PATH | O_NOFOLLOW, false, absent);
        if (!original || fstat(original.get(), &status) < 0) return 0;
    }
    if (status.st_uid != kUnmapped && status.st_gid != kUnmapped) return 0;
    if (S_ISDIR(status.st_mode)) return adopt_directory(path, status.st_mode, failure);
    if (!S_ISREG(status.st_mode)) return 0;
    File copy;
    copy.path = path;
    copy.append_image = true;
    copy.mode = status.st_mode & 0777;
    return write_file(copy, failure);
}

}  // namespace berth::builder

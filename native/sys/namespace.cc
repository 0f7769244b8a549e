#include "namespace.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "process.h"

namespace berth {
namespace {

constexpr long kNsfsMagic = 0x6e736673;   // linux/magic.h NSFS_MAGIC
constexpr long kTmpfsMagic = 0x01021994;  // linux/magic.h TMPFS_MAGIC
constexpr uint64_t kStatxAttrMountRoot = 0x2000;

/// There is no such file, or what should be its directory is none.
bool is_absence(int error) {
    return error == ENOENT || error == ENOTDIR;
}

int write_whole(int directory, const char* name, const char* text, Failure& failure) {
    Fd file(openat(directory, name, O_WRONLY | O_CLOEXEC));
    if (!file) return failure.set("open", name);
    const size_t length = strlen(text);
    if (write(file.get(), text, length) != static_cast<ssize_t>(length)) return failure.set("write", name);
    return 0;
}

}  // namespace

Fd open_namespace(pid_t pid, int pidfd, const char* kind, Failure& failure) {
    Fd process = open_process(pid, pidfd, failure);
    if (!process) return Fd();
    char path[16];
    std::snprintf(path, sizeof path, "ns/%s", kind);
    Fd ns(openat(process.get(), path, O_RDONLY | O_CLOEXEC));
    if (!ns) failure.set("open", path);
    return ns;
}

Fd owning_user_namespace(int ns, Failure& failure) {
    Fd owner(ioctl(ns, NS_GET_USERNS));
    if (!owner) failure.set("ioctl NS_GET_USERNS", "mount namespace");
    return owner;
}

int write_id_maps(pid_t pid, int pidfd, const char* uid_map, const char* gid_map, bool may_drop_groups,
                  Failure& failure) {
    Fd process = open_process(pid, pidfd, failure);
    if (!process) return -1;
    if (write_whole(process.get(), "uid_map", uid_map, failure) < 0) return -1;
    // A user who could drop a group would gain what a file denies to that group.
    if (!may_drop_groups && write_whole(process.get(), "setgroups", "deny", failure) < 0) return -1;
    return write_whole(process.get(), "gid_map", gid_map, failure);
}

int pin(int ns, const char* path, Failure& failure) {
    Fd file(open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400));
    if (!file) return failure.set("open", path);
    char source[32];
    std::snprintf(source, sizeof source, "/proc/self/fd/%d", ns);
    if (mount(source, path, nullptr, MS_BIND, nullptr) < 0) {
        failure.set("mount", path);
        ::unlink(path);
        return -1;
    }
    return 0;
}

int unpin(const char* path, Failure& failure) {
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && !is_absence(errno))
        return failure.set("umount2", path);
    if (::unlink(path) < 0 && !is_absence(errno)) return failure.set("unlink", path);
    return 0;
}

Fd open_pin(const char* path, bool& is_pin, Failure& failure) {
    is_pin = false;
    Fd file(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) {
        if (is_absence(errno) || errno == ELOOP) return Fd();
        failure.set("open", path);
        return Fd();
    }
    struct statfs status = {};
    if (fstatfs(file.get(), &status) < 0) {
        failure.set("fstatfs", path);
        return Fd();
    }
    is_pin = status.f_type == kNsfsMagic;
    return is_pin ? std::move(file) : Fd();
}

int prepare_pins(const char* path, Failure& failure) {
    struct statx status = {};
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &status) < 0)
        return failure.set("statx", path);
    struct statfs filesystem = {};
    if (statfs(path, &filesystem) < 0) return failure.set("statfs", path);
    const bool mounted =
        (status.stx_attributes & kStatxAttrMountRoot) != 0 && filesystem.f_type == kTmpfsMagic;
    if (!mounted && mount("berth", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=64m") < 0)
        return failure.set("mount", path);
    if (mount(nullptr, path, nullptr, MS_PRIVATE, nullptr) < 0) return failure.set("mount", path);
    return 0;
}

}  // namespace berth

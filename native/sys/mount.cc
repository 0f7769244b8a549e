#include "mount.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace berth {
namespace {

// linux/mount.h; see the header for why they are spelt out.
constexpr unsigned kFsopenCloexec = 0x1;
constexpr unsigned kFsmountCloexec = 0x1;
constexpr unsigned kOpenTreeClone = 0x1;
constexpr unsigned kOpenTreeCloexec = O_CLOEXEC;
constexpr unsigned kAtRecursive = 0x8000;
constexpr unsigned kMoveMountFromEmptyPath = 0x4;
constexpr unsigned kMoveMountToEmptyPath = 0x40;
constexpr unsigned kConfigSetFlag = 0;
constexpr unsigned kConfigSetString = 1;
constexpr unsigned kConfigCreate = 6;
constexpr uint64_t kMountIdmap = 0x00100000;

// openat2(2) gives up with EAGAIN on ".." when anybody on the machine renames or mounts anything in that
// moment.
constexpr int kOpenAttempts = 10000;

struct MountAttributes {
    uint64_t set;
    uint64_t clear;
    uint64_t propagation;
    uint64_t userns_fd;
};

int set_attributes(int directory, const char* path, unsigned flags, const MountAttributes& attributes) {
    return static_cast<int>(
        syscall(SYS_mount_setattr, directory, path, flags, &attributes, sizeof attributes));
}

/// The kernel leaves its reasons on the file system context: "e squashfs: …" a line a read.
int filesystem_failure(int context, const char* call, const char* filesystem, Failure& failure) {
    const int error = errno;
    char message[256];
    const ssize_t length = read(context, message, sizeof message - 1);
    if (length <= 2) return failure.set(call, filesystem, error);
    message[length] = '\0';
    message[strcspn(message, "\n")] = '\0';
    return failure.set(call, message + 2, error);
}

Fd open_resolved(int directory, const char* path, int flags, uint64_t resolve, Failure& failure) {
    open_how how = {};
    how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
    how.resolve = resolve;
    for (int attempt = 1;; attempt++) {
        Fd fd(static_cast<int>(syscall(SYS_openat2, directory, path, &how, sizeof how)));
        if (fd) return fd;
        if (errno == EAGAIN && attempt < kOpenAttempts) continue;
        failure.set("openat2", path);
        return fd;
    }
}

}  // namespace

Fd new_mount(const char* filesystem, const MountParameter* parameters, uint64_t attributes,
             Failure& failure) {
    Fd context(static_cast<int>(syscall(SYS_fsopen, filesystem, kFsopenCloexec)));
    if (!context) {
        failure.set("fsopen", filesystem);
        return Fd();
    }
    for (const MountParameter* p = parameters; p->key != nullptr; p++) {
        const unsigned command = p->value == nullptr ? kConfigSetFlag : kConfigSetString;
        if (syscall(SYS_fsconfig, context.get(), command, p->key, p->value, 0) < 0) {
            filesystem_failure(context.get(), "fsconfig", p->value == nullptr ? p->key : p->value, failure);
            return Fd();
        }
    }
    if (syscall(SYS_fsconfig, context.get(), kConfigCreate, nullptr, nullptr, 0) < 0) {
        filesystem_failure(context.get(), "fsconfig", filesystem, failure);
        return Fd();
    }
    Fd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), kFsmountCloexec, attributes)));
    if (!mount) filesystem_failure(context.get(), "fsmount", filesystem, failure);
    return mount;
}

Fd clone_tree(const char* path, bool recursive, Failure& failure) {
    const unsigned flags = kOpenTreeClone | kOpenTreeCloexec | (recursive ? kAtRecursive : 0U);
    Fd tree(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, path, flags)));
    if (!tree) failure.set("open_tree", path);
    return tree;
}

Fd clone_opened(int fd, bool recursive, const char* name, Failure& failure) {
    const unsigned flags =
        AT_EMPTY_PATH | kOpenTreeClone | kOpenTreeCloexec | (recursive ? kAtRecursive : 0U);
    Fd tree(static_cast<int>(syscall(SYS_open_tree, fd, "", flags)));
    if (!tree) failure.set("open_tree", name);
    return tree;
}

int attach(int mount, int directory, const char* path, Failure& failure) {
    if (syscall(SYS_move_mount, mount, "", directory, path, kMoveMountFromEmptyPath) < 0)
        return failure.set("move_mount", path);
    return 0;
}

int attach_at(int mount, int target, const char* name, Failure& failure) {
    const unsigned flags = kMoveMountFromEmptyPath | kMoveMountToEmptyPath;
    if (syscall(SYS_move_mount, mount, "", target, "", flags) < 0) return failure.set("move_mount", name);
    return 0;
}

int add_attributes(int mount, uint64_t attributes, bool recursive, const char* name, Failure& failure) {
    const unsigned flags = AT_EMPTY_PATH | (recursive ? kAtRecursive : 0U);
    if (set_attributes(mount, "", flags, {attributes, 0, 0, 0}) < 0)
        return failure.set("mount_setattr", name);
    return 0;
}

int make_private(int mount, bool recursive, const char* name, Failure& failure) {
    const unsigned flags = AT_EMPTY_PATH | (recursive ? kAtRecursive : 0U);
    if (set_attributes(mount, "", flags, {0, 0, MS_PRIVATE, 0}) < 0)
        return failure.set("mount_setattr", name);
    return 0;
}

int make_slave(const char* path, Failure& failure) {
    if (set_attributes(AT_FDCWD, path, kAtRecursive, {0, 0, MS_SLAVE, 0}) < 0)
        return failure.set("mount_setattr", path);
    return 0;
}

int idmap(int mount, int user_namespace, Failure& failure) {
    const MountAttributes attributes = {kMountIdmap, 0, 0, static_cast<uint64_t>(user_namespace)};
    if (set_attributes(mount, "", AT_EMPTY_PATH, attributes) < 0)
        return failure.set("mount_setattr", "MOUNT_ATTR_IDMAP");
    return 0;
}

Fd open_in_root(int root, const char* path, int flags, bool symlinks, Failure& failure) {
    const uint64_t links = symlinks ? 0U : RESOLVE_NO_SYMLINKS;
    return open_resolved(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | links, failure);
}

Fd open_path(const char* path, int flags, Failure& failure) {
    return open_resolved(AT_FDCWD, path, O_PATH | flags, RESOLVE_NO_MAGICLINKS, failure);
}

int change_root(int new_root, Failure& failure) {
    if (fchdir(new_root) < 0) return failure.set("fchdir", "the container's root");
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up mounted over the new one and is let go from
    // there.
    if (syscall(SYS_pivot_root, ".", ".") < 0) return failure.set("pivot_root", "the container's root");
    if (umount2(".", MNT_DETACH) < 0) return failure.set("umount2", "the host's root");
    if (chdir("/") < 0) return failure.set("chdir", "/");
    return 0;
}

}  // namespace berth

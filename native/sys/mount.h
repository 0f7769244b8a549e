#pragma once

#include <cstdint>

#include "failure.h"
#include "fd.h"

namespace berth {

/// Attributes of a mount, as mount_setattr(2) and fsmount(2) name them (linux/mount.h). Spelt out here
/// because the C libraries of RHEL 8 and 9 lack some of them.
inline constexpr uint64_t kMountReadOnly = 0x1;
inline constexpr uint64_t kMountNoSuid = 0x2;
inline constexpr uint64_t kMountNoDev = 0x4;
inline constexpr uint64_t kMountNoAtime = 0x10;

/// One parameter of a file system about to be mounted; a null value makes it a flag.
struct MountParameter {
    const char* key;
    const char* value;
};

/// fsopen(2), fsconfig(2), fsmount(2): a new, detached mount (Linux 5.2). The kernel's own message about the
/// failure, where it gives one, becomes the failure's object.
Fd new_mount(const char* filesystem, const MountParameter* parameters, uint64_t attributes, Failure& failure);

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `path`, and of all below it where
/// `recursive` (Linux 5.2).
Fd clone_tree(const char* path, bool recursive, Failure& failure);

/// The same of what is open, whatever has its name by now. `name` is for the failure.
Fd clone_opened(int fd, bool recursive, const char* name, Failure& failure);

/// move_mount(2) of a detached mount to a path below a directory, which may be AT_FDCWD.
int attach(int mount, int directory, const char* path, Failure& failure);

/// move_mount(2) of a detached mount onto an open directory or file.
int attach_at(int mount, int target, const char* name, Failure& failure);

/// mount_setattr(2): adds attributes, to all mounts below where `recursive` (Linux 5.12). `name` is for the
/// failure.
int add_attributes(int mount, uint64_t attributes, bool recursive, const char* name, Failure& failure);

/// mount_setattr(2) with MS_SLAVE on everything below `path`: mounts made there later still arrive, none go
/// back.
int make_slave(const char* path, Failure& failure);

/// mount_setattr(2) with MS_PRIVATE: what is mounted elsewhere does not appear in this mount any more.
int make_private(int mount, bool recursive, const char* name, Failure& failure);

/// mount_setattr(2) with MOUNT_ATTR_IDMAP on a detached mount (Linux 5.12; squashfs since 5.18, erofs
/// since 5.19).
int idmap(int mount, int user_namespace, Failure& failure);

/// openat2(2) inside `root` (RESOLVE_IN_ROOT, no magic links): absolute links stay inside. `symlinks` false
/// refuses them. Flags as for open(2); O_CLOEXEC is added.
Fd open_in_root(int root, const char* path, int flags, bool symlinks, Failure& failure);

/// openat2(2) with O_PATH of an absolute path, following symbolic links but no magic ones. Flags are added.
Fd open_path(const char* path, int flags, Failure& failure);

/// Makes the mount at `new_root` (an open directory) the root of the mount namespace and lets go of
/// everything else.
int change_root(int new_root, Failure& failure);

}  // namespace berth

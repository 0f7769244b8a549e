#pragma once

#include <sys/types.h>

#include <cstdint>

#include "../sys/failure.h"
#include "../sys/fd.h"

namespace berth::builder {

/// A new, detached tmpfs, nosuid and nodev, whose top belongs to these ids as this user namespace knows them.
/// `size` is in MiB; 0 leaves it to the kernel: half of the memory. A file for each page is the most, as it
/// is by the kernel's own choice: files take memory even when they are empty.
Fd new_tmpfs(uint32_t size, uid_t uid, gid_t gid, Failure& failure);

}  // namespace berth::builder

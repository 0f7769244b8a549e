#pragma once

#include "../sys/failure.h"
#include "../sys/fd.h"

namespace berth::builder {

/// A detached, read-only FUSE mount (Linux 4.18 in a user namespace), and the device on which its requests
/// come. Both belong to the user namespace this process is in: only who is in there can look into the mount,
/// so that nobody else, least of all root, ever waits for the process that serves it.
int mount_fuse(Fd& device, Fd& image, Failure& failure);

}  // namespace berth::builder

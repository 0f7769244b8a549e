#pragma once

#include "../sys/failure.h"
#include "../sys/fd.h"

namespace berth::builder {

/// A detached, read-only FUSE mount (Linux 4.18 in a user namespace), and the device on which its requests
/// come. Both belong to the user namespace this process is in, so that ids in the mount are that namespace's;
/// and as the mount is in no other mount namespace, no process of the host ever waits for what serves it.
int mount_fuse(Fd& device, Fd& image, Failure& failure);

}  // namespace berth::builder

#pragma once

#include "failure.h"
#include "fd.h"

namespace berth {

struct LoopDevice {
    Fd fd;
    int index = -1;
    char path[32] = "";
};

/// A read-only loop device on the file, which the kernel frees by itself when its last user is gone
/// (LO_FLAGS_AUTOCLEAR; LOOP_CONFIGURE, Linux 5.8). `candidate`, where not negative, is the index of a device
/// that may serve this very file already: then it is shared, and with it the mounted file system's cache.
LoopDevice attach_loop(int file, int candidate, Failure& failure);

/// As attach_loop, of a file opened for writing, and writable: a device of its own, whose descriptor is
/// read-only all the same, as the kernel may refuse to mount what is open for writing.
LoopDevice attach_writable_loop(int file, Failure& failure);

}  // namespace berth

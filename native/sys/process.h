#pragma once

#include <sys/types.h>

#include "failure.h"
#include "fd.h"

namespace berth {

struct Child {
    pid_t pid = -1;
    Fd pidfd;
};

/// Starts an executable with an empty environment and, from descriptor 3 on, just the given descriptors. It
/// is killed when the calling thread ends (PR_SET_PDEATHSIG). vfork(2): neither the caller's memory nor its
/// page tables are copied, and nothing of them can be seen in the child.
Child spawn(const char* executable, const int* descriptors, int count, Failure& failure);

/// waitid(2) without waiting. 1: reaped, or not a child of ours; 0: still running.
int reap(int pidfd, Failure& failure);

/// pidfd_send_signal(2) (Linux 5.1). 1: sent; 0: the process is gone. Signal 0 only asks.
int send_signal(int pidfd, int signal, Failure& failure);

/// pidfd_getfd(2) (Linux 5.6): a duplicate of another process' descriptor.
Fd descriptor_of(int pidfd, int fd, Failure& failure);

}  // namespace berth

#pragma once

#include <sys/types.h>

#include "failure.h"
#include "fd.h"

namespace berth {

struct Child {
    pid_t pid = -1;
    Fd pidfd;
};

/// Starts an executable with an empty environment, /dev/null as input and output, our standard error and,
/// from descriptor 3 on, just the given descriptors. It is killed when the calling thread ends
/// (PR_SET_PDEATHSIG); those of libuv's pool end with the process. vfork(2): neither the caller's memory nor
/// its page tables are copied, and nothing of them can be seen in the child.
Child spawn(const char* executable, const int* descriptors, int count, Failure& failure);

/// waitid(2) without waiting. 1: reaped, or not a child of ours; 0: still running.
int reap(int pidfd, Failure& failure);

/// pidfd_send_signal(2) (Linux 5.1). 1: sent; 0: the process is gone. Signal 0 only asks.
int send_signal(int pidfd, int signal, Failure& failure);

/// poll(2): 1: the process has ended, whether reaped or not; 0: it runs.
int has_ended(int pidfd, Failure& failure);

/// pidfd_open(2). Empty, with no failure set, when there is no such process.
Fd open_pidfd(pid_t pid, Failure& failure);

/// pidfd_getfd(2) (Linux 5.6): a duplicate of another process' descriptor.
Fd descriptor_of(int pidfd, int descriptor, Failure& failure);

/// /proc/PID as a directory: what is opened below it belongs to one process even when the pid is used again.
Fd open_process(pid_t pid, int pidfd, Failure& failure);

/// Opens a pipe that another process has as `fd`, for reading, if it belongs to `owner`; EBADF otherwise.
/// Nothing else is ever opened, and so never closed either: both could wait for a file system that the
/// process serves itself, or that hangs.
Fd pipe_of(pid_t pid, int pidfd, int fd, uid_t owner, Failure& failure);

}  // namespace berth

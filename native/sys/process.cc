#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace berth {
namespace {

constexpr int kFirstDescriptor = 3;
constexpr int kMostDescriptors = 8;

/// What runs in the child: system calls only. Returns errno of what failed; does not return on success.
int become(const char* executable, const int* descriptors, int count, pid_t parent) {
    // Node closes its standard descriptors on exec: what the child opens first must not become its stderr.
    const int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0) return errno;
    if (fcntl(STDERR_FILENO, F_SETFD, 0) < 0 && dup2(null, STDERR_FILENO) < 0) return errno;
    // Above everything that is about to be placed, so that no placing overwrites one not placed yet.
    int moved[kMostDescriptors];
    for (int i = 0; i < count; i++) {
        moved[i] = fcntl(descriptors[i], F_DUPFD, kFirstDescriptor + kMostDescriptors);
        if (moved[i] < 0) return errno;
    }
    for (int i = 0; i < count; i++) {
        if (dup2(moved[i], kFirstDescriptor + i) < 0) return errno;
    }
    if (syscall(SYS_close_range, kFirstDescriptor + count, ~0U, 0) < 0) return errno;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return errno;
    if (getppid() != parent) return ESRCH;
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, nullptr) < 0) return errno;
    char* const arguments[] = {const_cast<char*>(executable), nullptr};
    char* const environment[] = {nullptr};
    execve(executable, arguments, environment);
    return errno;
}

}  // namespace

Child spawn(const char* executable, const int* descriptors, int count, Failure& failure) {
    Child child;
    if (count > kMostDescriptors) {
        failure.set("spawn", executable, EINVAL);
        return child;
    }
    // No handler of ours may run in the child while it shares our memory.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        failure.set("pthread_sigmask", executable);
        return child;
    }
    const pid_t parent = getpid();
    volatile int error = 0;
    const pid_t pid = vfork();
    if (pid == 0) {
        error = become(executable, descriptors, count, parent);
        _exit(127);
    }
    const int vfork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) {
        failure.set("vfork", executable, vfork_error);
        return child;
    }
    if (error != 0) {
        waitpid(pid, nullptr, 0);
        failure.set("execve", executable, error);
        return child;
    }
    child.pidfd = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!child.pidfd) {
        failure.set("pidfd_open", executable);
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        return child;
    }
    child.pid = pid;
    return child;
}

int reap(int pidfd, Failure& failure) {
    siginfo_t info = {};
    if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) < 0) {
        if (errno == ECHILD) return 1;
        return failure.set("waitid", "builder");
    }
    return info.si_pid != 0 ? 1 : 0;
}

int send_signal(int pidfd, int signal, Failure& failure) {
    if (syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0) return 1;
    if (errno == ESRCH) return 0;
    return failure.set("pidfd_send_signal", "process");
}

int has_ended(int pidfd, Failure& failure) {
    pollfd entry = {pidfd, POLLIN, 0};
    const int ready = poll(&entry, 1, 0);
    return ready < 0 ? failure.set("poll", "process") : ready;
}

Fd open_pidfd(pid_t pid, Failure& failure) {
    Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd && errno != ESRCH) failure.set("pidfd_open", "process");
    return pidfd;
}

Fd descriptor_of(int pidfd, int descriptor, Failure& failure) {
    Fd duplicate(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, descriptor, 0)));
    if (!duplicate) failure.set("pidfd_getfd", "process");
    return duplicate;
}

Fd open_process(pid_t pid, int pidfd, Failure& failure) {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/%d", pid);
    Fd directory(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) {
        failure.set("open", path);
        return Fd();
    }
    if (syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) < 0) {
        failure.set("pidfd_send_signal", path);
        return Fd();
    }
    return directory;
}

Fd pipe_of(pid_t pid, int pidfd, int fd, uid_t owner, Failure& failure) {
    const Fd process = open_process(pid, pidfd, failure);
    if (!process) return Fd();
    char path[32];
    std::snprintf(path, sizeof path, "fd/%d", fd);
    // O_PATH asks nothing of the file system, and AT_STATX_DONT_SYNC takes what the kernel knows.
    const Fd found(openat(process.get(), path, O_PATH | O_CLOEXEC));
    if (!found) {
        failure.set("open", path);
        return Fd();
    }
    struct statx status = {};
    if (statx(found.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_UID, &status) < 0) {
        failure.set("statx", path);
        return Fd();
    }
    if (!S_ISFIFO(status.stx_mode) || status.stx_uid != owner) {
        failure.set("statx", S_ISFIFO(status.stx_mode) ? "another user's pipe" : "not a pipe", EBADF);
        return Fd();
    }
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", found.get());
    // O_NONBLOCK for the opening alone: whoever has no writer yet would be waited for.
    Fd pipe(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!pipe || fcntl(pipe.get(), F_SETFL, 0) < 0) {
        failure.set("open", "the client's pipe");
        return Fd();
    }
    // To a reader that has never seen a writer, epoll does not tell the end. Writers may have been and gone
    // before it was opened, so it sees this one, which is gone at once.
    const Fd writer(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (!writer) {
        failure.set("open", "the client's pipe");
        return Fd();
    }
    return pipe;
}

}  // namespace berth

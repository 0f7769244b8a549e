// Starts the process that serves the FUSE mount of one container: squashfuse, with the user's rights, as the
// first process of a process namespace, and nobody's child; see docs/adr/0013. It ends by itself when the
// mount has gone, whether berthd lives or not.
//
//   berth-fuse-server PROGRAM UID GID [GID...]
//
// Descriptors: 2 for the messages of the program, 3 a packet socket to berthd, 4 the image file, 5 the opened
// /dev/fuse. One packet goes: the process' number, with a pidfd of it. Then this process ends.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../sys/credentials.h"
#include "../sys/fd.h"
#include "../sys/socket.h"

namespace berth::fuse_server {
namespace {

constexpr int kSocket = 3;
constexpr unsigned kFirstUnused = 6;

/// What the server gets: it reads one file and answers on one device. In bytes, but for descriptors.
struct Limit {
    decltype(RLIMIT_AS) resource;
    rlim_t value;
};
constexpr Limit kLimits[] = {
    {RLIMIT_CORE, 0},
    {RLIMIT_FSIZE, 0},
    {RLIMIT_NOFILE, 64},
    // Of addresses: ten threads and what their allocators reserve take one; blocks are at most 1 MiB.
    {RLIMIT_AS, rlim_t{4} << 30},
};

struct Order {
    const char* program = nullptr;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> gids;
};

bool read_id(const char* text, uint32_t& id) {
    char* end;
    errno = 0;
    const unsigned long value = std::strtoul(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value >= UINT32_MAX) return false;
    id = static_cast<uint32_t>(value);
    return true;
}

int read_order(int count, char** words, Order& order, Failure& failure) {
    if (count < 4 || words[1][0] != '/' || !read_id(words[2], order.uid) || !read_id(words[3], order.gid))
        return failure.set("parse", "the arguments", EINVAL);
    order.program = words[1];
    for (int i = 4; i < count; i++) {
        gid_t gid = 0;
        if (!read_id(words[i], gid)) return failure.set("parse", words[i], EINVAL);
        order.gids.push_back(gid);
    }
    return 0;
}

/// With it empty, not even root's programs are started with a capability.
int drop_bounding_set(Failure& failure) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return failure.set("prctl", "PR_CAPBSET_DROP");
    }
    return 0;
}

/// In the new process. Returns only where something failed.
int serve(const Order& order, Failure& failure) {
    for (const Limit& limit : kLimits) {
        const rlimit both = {limit.value, limit.value};
        if (setrlimit(limit.resource, &both) < 0) return failure.set("setrlimit", "the server");
    }
    // berthd, which reads its messages at first, may end.
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return failure.set("signal", "SIGPIPE");
    if (setsid() < 0) return failure.set("setsid", "the server");
    close(kSocket);
    // berthd may have inherited what is not closed on exec.
    if (syscall(SYS_close_range, kFirstUnused, ~0U, 0) < 0) return failure.set("close_range", "the server");
    if (drop_bounding_set(failure) < 0) return -1;
    if (become_user({order.uid, order.gid, order.gids}, failure) < 0) return -1;
    if (renounce_privileges(failure) < 0) return -1;
    // The file is opened anew, by what may open it: the user. libfuse (3.3 and later) takes a descriptor of
    // the device in the mount point's place.
    const char* const words[] = {order.program, "-f", "/proc/self/fd/4", "/dev/fd/5", nullptr};
    const char* const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", nullptr};
    execve(order.program, const_cast<char**>(words), const_cast<char**>(environment));
    return failure.set("execve", order.program);
}

void complain(const Failure& failure) {
    dprintf(STDERR_FILENO, "berth-fuse-server: %s: %s: %s\n", failure.call, failure.object,
            strerror(failure.error));
}

int start(const Order& order, Failure& failure) {
    int pidfd = -1;
    // clone(2), with the parts that fork(2) lacks: a pid namespace of its own, which ends with it whatever
    // has become of it, and a pidfd, made before it can end.
    const long pid =
        syscall(SYS_clone, CLONE_NEWPID | CLONE_PIDFD | SIGCHLD, nullptr, &pidfd, nullptr, nullptr);
    if (pid < 0) return failure.set("clone", "CLONE_NEWPID");
    if (pid == 0) {
        if (serve(order, failure) < 0) complain(failure);
        _exit(1);
    }
    const Fd server(pidfd);
    const std::string text = std::to_string(pid);
    return send_descriptors(kSocket, text.data(), text.size(), &pidfd, 1, failure) > 0 ? 0 : -1;
}

}  // namespace
}  // namespace berth::fuse_server

int main(int count, char** words) {
    using namespace berth;
    Failure failure;
    fuse_server::Order order;
    if (fuse_server::read_order(count, words, order, failure) == 0 && fuse_server::start(order, failure) == 0)
        return 0;
    fuse_server::complain(failure);
    return 1;
}

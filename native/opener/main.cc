// The opener: berthd's short-lived child that opens a file which a user named as an image, as that user and
// in the mount namespace of the process that asked (a job may have a /tmp of its own). berthd gets the
// descriptor and never looks the path up itself; see docs/adr/0013.
//
// Descriptors: 3 a packet socket to berthd, 4 a pidfd of the process whose mount namespace it is. Takes no
// arguments and no environment. One packet comes, "UID GID\nGID GID ...\nPATH", with what the site lets users
// mount behind it where the file is to be a volume; one goes: "file IDENTITY" with the descriptor, "other
// KIND" for what is no regular file, "denied REASON", or "failed ERRNO".

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cinttypes>
#include <cstring>
#include <string>
#include <vector>

#include "../builder/paths.h"
#include "../builder/policy.h"
#include "../sys/credentials.h"
#include "../sys/fd.h"
#include "../sys/socket.h"
#include "request.h"

namespace berth::opener {
namespace {

constexpr int kSocket = 3;
constexpr int kCaller = 4;

int become(const Request& request, Failure& failure) {
    if (become_user({request.uid, request.gid, request.gids}, failure) < 0) return -1;
    if (renounce_privileges(failure) < 0) return -1;
    // The change of credentials has cleared it.
    return die_with_parent(failure);
}

/// Without opening what it is: a device may do something when it is opened.
Fd find(const std::string& path, Failure& failure) {
    open_how how = {};
    how.flags = O_PATH | O_CLOEXEC;
    // /dev/stdin and /proc/self/fd/N would mean this process's own.
    how.resolve = RESOLVE_NO_MAGICLINKS;
    Fd found(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
    if (!found) failure.set("openat2", path.c_str());
    return found;
}

const char* kind_of(mode_t mode) {
    if (S_ISDIR(mode)) return "directory";
    if (S_ISFIFO(mode)) return "FIFO";
    if (S_ISSOCK(mode)) return "socket";
    return "device";
}

/// What answers for the file: its identity, or why it is not taken. FUSE's server may be a process of the
/// user's, which berthd would wait for even when it closes the descriptor.
///
/// The identity is what is the same on all nodes as long as the file is the same, and has not been changed:
/// no device number, which every node counts for itself.
int describe(int file, std::string& identity, Failure& failure) {
    struct stat status;
    struct statfs system;
    if (fstat(file, &status) < 0) return failure.set("fstat", "the file");
    if (fstatfs(file, &system) < 0) return failure.set("fstatfs", "the file");
    if (system.f_type == FUSE_SUPER_MAGIC) {
        identity = "other file of a FUSE file system";
        return 0;
    }
    uint32_t id[2];
    static_assert(sizeof system.f_fsid == sizeof id, "fsid_t is two words");
    std::memcpy(id, &system.f_fsid, sizeof id);
    const auto nanoseconds = [](const timespec& time) {
        return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
    };
    char text[256];
    std::snprintf(text, sizeof text, "file %lx.%x.%x %ju %jd %" PRId64 " %" PRId64,
                  static_cast<unsigned long>(system.f_type), id[0], id[1],
                  static_cast<uintmax_t>(status.st_ino), static_cast<intmax_t>(status.st_size),
                  nanoseconds(status.st_mtim), nanoseconds(status.st_ctim));
    identity = text;
    return 0;
}

/// Why the site does not let users mount what was found; empty when it does.
int check_source(int found, const Sources& sources, std::string& refusal, Failure& failure) {
    if (sources.allowed.empty() && sources.denied.empty()) return 0;
    std::string name;
    if (builder::name_of(found, name, failure) < 0) return -1;
    refusal = builder::SourcePolicy(sources.allowed, sources.denied).refusal(name);
    return 0;
}

/// Enters, opens and describes. The answer is a packet's text, and a descriptor where it is a file.
int open_for_user(std::string& answer, Fd& file, Failure& failure) {
    std::string packet;
    std::vector<Fd> none;
    Request request;
    std::vector<std::string> words;
    Sources sources;
    if (die_with_parent(failure) < 0) return -1;
    if (receive_packet(kSocket, kRequestLimit, packet, none, failure) < 0) return -1;
    if (parse_order(packet, 0, request, words, sources, failure) < 0) return -1;
    // setns(2) with a pidfd: Linux 5.8.
    if (setns(kCaller, CLONE_NEWNS) < 0) return failure.set("setns", "the caller's mount namespace");
    close(kCaller);
    if (become(request, failure) < 0) return -1;
    Fd found = find(request.path, failure);
    if (!found) return -1;
    std::string refusal;
    if (check_source(found.get(), sources, refusal, failure) < 0) return -1;
    if (!refusal.empty()) {
        answer = "denied " + refusal;
        return 0;
    }
    struct stat status;
    if (fstat(found.get(), &status) < 0) return failure.set("fstat", request.path.c_str());
    if (!S_ISREG(status.st_mode)) {
        answer = std::string("other ") + kind_of(status.st_mode);
        return 0;
    }
    const std::string link = "/proc/self/fd/" + std::to_string(found.get());
    file = Fd(open(link.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file) return failure.set("open", request.path.c_str());
    if (describe(file.get(), answer, failure) < 0) return -1;
    if (answer.rfind("file ", 0) != 0) file.reset();
    return 0;
}

}  // namespace
}  // namespace berth::opener

int main() {
    using namespace berth;
    Failure failure;
    std::string answer;
    Fd file;
    if (opener::open_for_user(answer, file, failure) < 0)
        answer = "failed " + std::to_string(failure.error) + " " + failure.call;
    const int descriptor = file.get();
    const ssize_t sent =
        send_descriptors(opener::kSocket, answer.data(), answer.size(), &descriptor, file ? 1 : 0, failure);
    return sent > 0 ? 0 : 1;
}

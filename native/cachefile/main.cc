// Makes the file of a per-node cache: berthd's short-lived child that makes an unnamed file in a directory
// which a user named, with that user's rights and in the mount namespace of the process that asked, and fills
// it with a formatted file system. See docs/adr/0019.
//
// Nobody but root may ever have this file, or the kernel would mount a file system whose bytes a user can
// change. So it never has a name and can get none (O_TMPFILE, O_EXCL), and this process stays root, which no
// process of the user's may trace or look into: only its filesystem ids are the user's, and it has given up
// every capability.
//
// Descriptors: 3 a packet socket to berthd, 4 a pidfd of the process whose mount namespace it is, 5 a file
// with the formatted file system, as large as the other is to be. Takes no arguments and no environment. One
// packet comes: a request as the opener's, with the allowed file systems as words behind it ("0x58465342
// 0xef53"), and what the site lets users mount. One goes: "made" with the descriptor, "denied REASON",
// "filesystem NUMBER" for a directory on one that is not allowed, or "failed ERRNO CALL".

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../builder/paths.h"
#include "../builder/policy.h"
#include "../opener/request.h"
#include "../sys/credentials.h"
#include "../sys/fd.h"
#include "../sys/mount.h"
#include "../sys/socket.h"

namespace berth::cachefile {
namespace {

using opener::Request;
using opener::Sources;

constexpr int kSocket = 3;
constexpr int kCaller = 4;
constexpr int kFormatted = 5;

constexpr size_t kPiece = size_t{64} * 1024;

/// From here on what is looked up, made and written is the user's, also as quotas count.
int take_rights(const Request& request, Failure& failure) {
    if (take_filesystem_ids({request.uid, request.gid, request.gids}, failure) < 0) return -1;
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    if (syscall(SYS_capset, &header, none) < 0) return failure.set("capset", "no capabilities");
    // The change of credentials has cleared it.
    return die_with_parent(failure);
}

bool is_allowed(const struct statfs& system, const std::string& allowed) {
    const char* text = allowed.c_str();
    while (*text != '\0') {
        char* end;
        const unsigned long number = std::strtoul(text, &end, 16);
        if (end == text) return false;
        if (number == static_cast<unsigned long>(system.f_type)) return true;
        text = end;
    }
    return false;
}

bool is_zero(const char* bytes, size_t count) {
    return bytes[0] == 0 && std::memcmp(bytes, bytes + 1, count - 1) == 0;
}

/// What is not zero, which is a small part: the file stays sparse.
int copy_content(int from, int to, off_t size, Failure& failure) {
    static char piece[kPiece];
    for (off_t at = 0; at < size;) {
        at = lseek(from, at, SEEK_DATA);
        if (at < 0) return errno == ENXIO ? 0 : failure.set("lseek", "the formatted file system");
        const ssize_t got = pread(from, piece, std::min<size_t>(kPiece, static_cast<size_t>(size - at)), at);
        if (got <= 0) return failure.set("pread", "the formatted file system", got < 0 ? errno : EIO);
        const auto count = static_cast<size_t>(got);
        for (size_t done = 0; !is_zero(piece, count) && done < count;) {
            const ssize_t put = pwrite(to, piece + done, count - done, at + static_cast<off_t>(done));
            if (put < 0) return failure.set("pwrite", "the cache's file");
            done += static_cast<size_t>(put);
        }
        at += got;
    }
    return 0;
}

/// An unnamed file that can get no name (open(2), O_TMPFILE and O_EXCL).
int make_file(int directory, Fd& file, Failure& failure) {
    struct stat formatted;
    if (fstat(kFormatted, &formatted) < 0) return failure.set("fstat", "the formatted file system");
    file = Fd(openat(directory, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    // EISDIR: of a kernel that does not know the flag on this file system.
    if (!file) return failure.set("open", "the directory", errno == EISDIR ? EOPNOTSUPP : errno);
    if (ftruncate(file.get(), formatted.st_size) < 0) return failure.set("ftruncate", "the cache's file");
    return copy_content(kFormatted, file.get(), formatted.st_size, failure);
}

int make_for_user(std::string& answer, Fd& file, Failure& failure) {
    std::string packet;
    std::vector<Fd> none;
    Request request;
    std::vector<std::string> words;
    Sources sources;
    if (die_with_parent(failure) < 0) return -1;
    if (receive_packet(kSocket, opener::kRequestLimit, packet, none, failure) < 0) return -1;
    if (opener::parse_order(packet, 1, request, words, sources, failure) < 0) return -1;
    // setns(2) with a pidfd: Linux 5.8.
    if (setns(kCaller, CLONE_NEWNS) < 0) return failure.set("setns", "the caller's mount namespace");
    close(kCaller);
    if (take_rights(request, failure) < 0) return -1;
    // No magic links: /proc/self/fd has this process's own.
    const Fd directory = open_path(request.path.c_str(), O_DIRECTORY, failure);
    std::string name;
    if (!directory || builder::name_of(directory.get(), name, failure) < 0) return -1;
    const std::string refusal = builder::SourcePolicy(sources.allowed, sources.denied).refusal(name);
    if (!refusal.empty()) {
        answer = "denied " + refusal;
        return 0;
    }
    struct statfs system = {};
    if (fstatfs(directory.get(), &system) < 0) return failure.set("fstatfs", request.path.c_str());
    if (!is_allowed(system, words[0])) {
        char text[32];
        std::snprintf(text, sizeof text, "filesystem 0x%lx", static_cast<unsigned long>(system.f_type));
        answer = text;
        return 0;
    }
    answer = "made";
    if (make_file(directory.get(), file, failure) == 0) return 0;
    answer = "unnamed";
    return failure.error == EOPNOTSUPP ? 0 : -1;
}

}  // namespace
}  // namespace berth::cachefile

int main() {
    using namespace berth;
    Failure failure;
    std::string answer;
    Fd file;
    if (cachefile::make_for_user(answer, file, failure) < 0) {
        answer = "failed " + std::to_string(failure.error) + " " + failure.call;
        file.reset();
    }
    const int descriptor = file.get();
    const ssize_t sent = send_descriptors(cachefile::kSocket, answer.data(), answer.size(), &descriptor,
                                          file ? 1 : 0, failure);
    return sent > 0 ? 0 : 1;
}

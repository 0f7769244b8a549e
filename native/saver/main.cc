// The saver: berthd's child that makes the file which a container is saved as, with the user's rights and in
// the mount namespace of the process that asked. It stays until the file is whole, puts it into its place, or
// removes it: also when berthd dies.
//
// Descriptors: 3 a packet socket to berthd, 4 a pidfd of the process whose mount namespace it is. Takes no
// arguments and no environment. One packet comes, as the opener's. One goes: "file" with the descriptor of an
// empty file beside the one that is asked for, or "failed ERRNO CALL". Then either "commit" comes, and "done"
// or "failed ERRNO CALL" goes, or the socket's end, and nothing is left.

#include <fcntl.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "../builder/paths.h"
#include "../opener/request.h"
#include "../sys/credentials.h"
#include "../sys/fd.h"
#include "../sys/mount.h"
#include "../sys/socket.h"

namespace berth::saver {
namespace {

using opener::Request;

constexpr int kSocket = 3;
constexpr int kCaller = 4;

/// The file while it is being written, and where it goes.
class Unfinished {
  public:
    ~Unfinished() {
        if (!name_.empty()) unlinkat(directory_.get(), name_.c_str(), 0);
    }

    /// In the directory of `path`, which must not be a directory itself.
    int make(const std::string& path, Failure& failure) {
        final_ = path.substr(path.rfind('/') + 1);
        if (final_.empty() || final_ == "." || final_ == "..")
            return failure.set("open", path.c_str(), EISDIR);
        directory_ = open_path(builder::parent_of(path).c_str(), O_DIRECTORY, failure);
        if (!directory_) return -1;
        struct stat status;
        if (fstatat(directory_.get(), final_.c_str(), &status, 0) == 0 && !S_ISREG(status.st_mode))
            return failure.set("open", path.c_str(), S_ISDIR(status.st_mode) ? EISDIR : EEXIST);
        uint64_t random = 0;
        if (getrandom(&random, sizeof random, 0) != sizeof random) return failure.set("getrandom", "a name");
        // Short: the file's own name may be as long as a name can be.
        char name[32];
        std::snprintf(name, sizeof name, ".berth-%016lx", static_cast<unsigned long>(random));
        const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        file_ = Fd(openat(directory_.get(), name, flags, 0600));
        if (!file_) return failure.set("open", path.c_str());
        name_ = name;
        return 0;
    }

    int commit(Failure& failure) {
        if (fsync(file_.get()) < 0) return failure.set("fsync", final_.c_str());
        if (renameat(directory_.get(), name_.c_str(), directory_.get(), final_.c_str()) < 0)
            return failure.set("rename", final_.c_str());
        name_.clear();
        return 0;
    }

    int file() const { return file_.get(); }

  private:
    Fd directory_;
    Fd file_;
    std::string name_;
    std::string final_;
};

int begin(Unfinished& file, Failure& failure) {
    std::string packet;
    std::vector<Fd> none;
    Request request;
    std::vector<std::string> words;
    opener::Sources sources;
    if (receive_packet(kSocket, opener::kRequestLimit, packet, none, failure) < 0) return -1;
    if (opener::parse_order(packet, 0, request, words, sources, failure) < 0) return -1;
    // setns(2) with a pidfd: Linux 5.8.
    if (setns(kCaller, CLONE_NEWNS) < 0) return failure.set("setns", "the caller's mount namespace");
    close(kCaller);
    if (become_user({request.uid, request.gid, request.gids}, failure) < 0) return -1;
    if (renounce_privileges(failure) < 0) return -1;
    return file.make(request.path, failure);
}

int answer(const std::string& text, int descriptor, Failure& failure) {
    const ssize_t sent =
        send_descriptors(kSocket, text.data(), text.size(), &descriptor, descriptor < 0 ? 0 : 1, failure);
    return sent > 0 ? 0 : -1;
}

int refuse(const Failure& failure) {
    Failure ignored;
    answer("failed " + std::to_string(failure.error) + " " + failure.call, -1, ignored);
    return 1;
}

int run() {
    Failure failure;
    Unfinished file;
    if (begin(file, failure) < 0) return refuse(failure);
    if (answer("file", file.file(), failure) < 0) return 1;
    std::string packet;
    std::vector<Fd> none;
    if (receive_packet(kSocket, opener::kRequestLimit, packet, none, failure) < 0 || packet != "commit")
        return 1;
    if (file.commit(failure) < 0) return refuse(failure);
    return answer("done", -1, failure) < 0 ? 1 : 0;
}

}  // namespace
}  // namespace berth::saver

int main() {
    return berth::saver::run();
}

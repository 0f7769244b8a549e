// Says which device nodes a job may use: enters the cgroups of the job and asks the kernel. access(2) looks
// at the cgroup's rules for devices (version 1) and runs its programs (version 2), and opens nothing: a
// driver may take seconds to open its device.
//
//   berth-devices CGROUP.PROCS... -- DEVICE...
//
// Writes one character for each device: 1 when it is a device node that may be read and written, else 0.
// Looks with root's rights, so that the nodes' own permissions do not matter. Takes no environment.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "../sys/credentials.h"
#include "../sys/failure.h"
#include "../sys/fd.h"

namespace berth::devices {
namespace {

int enter(const char* cgroup_procs, Failure& failure) {
    const Fd file(open(cgroup_procs, O_WRONLY | O_CLOEXEC));
    if (!file) return failure.set("open", cgroup_procs);
    // cgroups(7): 0 is the writing process.
    if (write(file.get(), "0", 1) < 0) return failure.set("write", cgroup_procs);
    return 0;
}

bool is_granted(const char* path) {
    struct stat status;
    if (stat(path, &status) < 0) return false;
    if (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) return false;
    return access(path, R_OK | W_OK) == 0;
}

int run(int count, char** arguments, Failure& failure) {
    if (die_with_parent(failure) < 0) return -1;
    int next = 1;
    for (; next < count && std::strcmp(arguments[next], "--") != 0; next++) {
        if (enter(arguments[next], failure) < 0) return -1;
    }
    std::string answers;
    for (next++; next < count; next++) answers += is_granted(arguments[next]) ? '1' : '0';
    if (write(STDOUT_FILENO, answers.data(), answers.size()) != static_cast<ssize_t>(answers.size()))
        return failure.set("write", "the answers");
    return 0;
}

}  // namespace
}  // namespace berth::devices

int main(int count, char** arguments) {
    berth::Failure failure;
    if (berth::devices::run(count, arguments, failure) == 0) return 0;
    std::fprintf(stderr, "%s %s: %s\n", failure.call, failure.object, std::strerror(failure.error));
    return 1;
}

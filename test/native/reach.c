/* Tries, as a user, every way to a file without a name that another process holds: reach UID PID FD DIRECTORY
 * DEVICE. Descriptor 3 is that file, whose handle this process learns while it is root. A line for each way:
 * its name, and "reached" or the name of the errno. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

static union {
    struct file_handle head;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} handle;

static void say(const char* way, long result) {
    printf("%s: %s\n", way, result < 0 ? strerrorname_np(errno) : "reached");
}

static void try_handle(const char* way, const char* directory) {
    const int mount = open(directory, O_RDONLY | O_DIRECTORY);
    say(way, open_by_handle_at(mount, &handle.head, O_RDWR));
    close(mount);
}

int main(int argc, char** argv) {
    if (argc != 6) return 2;
    const uid_t uid = (uid_t)strtoul(argv[1], NULL, 10);
    const pid_t pid = (pid_t)atoi(argv[2]);
    const char* directory = argv[4];
    char held[64];
    char name[4096];
    int mount_id;
    handle.head.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(3, "", &handle.head, &mount_id, AT_EMPTY_PATH) < 0) return 3;
    snprintf(name, sizeof name, "%s/stolen", directory);
    say("root, by linkat", linkat(AT_FDCWD, "/proc/self/fd/3", AT_FDCWD, name, AT_SYMLINK_FOLLOW));
    close(3);
    try_handle("root, by handle", directory);
    if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0) return 4;
    snprintf(held, sizeof held, "/proc/%d/fd/%s", pid, argv[3]);
    say("open of its link", open(held, O_RDWR));
    say("linkat", linkat(AT_FDCWD, held, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
    say("pidfd_getfd", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), atoi(argv[3]), 0));
    say("ptrace", ptrace(PTRACE_ATTACH, pid, NULL, NULL));
    say("its device", open(argv[5], O_RDONLY));
    try_handle("by handle", directory);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return 5;
    try_handle("by handle, as root of a namespace", directory);
    return 0;
}

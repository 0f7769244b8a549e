/* `berth logs`: what a container in the background has printed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth.h"
#include "log.h"
#include "start.h"

enum {
    /* A log on a network file system, of another host's: nobody tells when it grows. */
    LOOK_MS = 1000,
};

static int usage(const char* what, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_USAGE, (what), (why), ("berth logs"));
    return berth_print_failure(&failure, (int)failure.exit_status);
}

/* Prints what there is from here on. -1 when nobody reads it any more. */
static int print_rest(int file) {
    char bytes[16 * 1024];
    for (ssize_t got; (got = read(file, bytes, sizeof bytes)) != 0;) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return 0;
        for (ssize_t at = 0; at < got;) {
            const ssize_t written = write(STDOUT_FILENO, bytes + at, (size_t)(got - at));
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return -1;
            at += written;
        }
    }
    return 0;
}

static bool is_same(int directory, const char* path, int file) {
    struct stat one;
    struct stat other;
    return fstat(file, &one) == 0 && fstatat(directory, path, &other, AT_SYMLINK_NOFOLLOW) == 0 &&
           one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

/* Prints what comes, until the container has ended. */
static void follow(int directory, const char* id, const char* path, int file) {
    char here[64];
    snprintf(here, sizeof here, "/proc/self/fd/%d", directory);
    BERTH_FD changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (changes >= 0) inotify_add_watch(changes, here, IN_MODIFY | IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO);
    for (;;) {
        const bool ended = berth_log_has_ended(directory, id);
        if (print_rest(file) < 0) return;
        if (!is_same(directory, path, file)) {
            /* Another has taken its place; between the two there is none. */
            BERTH_FD next = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
            if (next < 0 && ended) return;
            if (next >= 0 && (print_rest(file) < 0 || dup3(next, file, O_CLOEXEC) < 0)) return;
            continue;
        }
        if (ended) return;
        struct pollfd change = {.fd = changes, .events = POLLIN};
        char events[4096];
        poll(&change, 1, LOOK_MS);
        while (changes >= 0 && read(changes, events, sizeof events) > 0) continue;
    }
}

int berth_logs(int argc, char** argv) {
    static const struct option known[] = {
        {"follow", no_argument, NULL, 'f'}, {"socket", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    bool follows = false;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "+:f", known, NULL)) != -1;) {
        if (option == 'f')
            follows = true;
        else if (option != 's')
            return usage(option == ':' ? "an option lacks its value" : "berth logs has no such option",
                         argv[optind - 1]);
    }
    if (optind + 1 != argc) return usage("berth logs shows one log", "give a container's name or id");
    struct berth_failure failure;
    char id[BERTH_LOG_ID];
    BERTH_FD directory = berth_log_find(argv[optind], id, &failure);
    if (directory < 0) return berth_print_failure(&failure, (int)failure.exit_status);
    char path[64];
    snprintf(path, sizeof path, "%s.log.1", id);
    BERTH_FD before = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    snprintf(path, sizeof path, "%s.log", id);
    BERTH_FD file = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        BERTH_FAIL(&failure, BERTH_LOG_UNKNOWN, (argv[optind]), (strerror(errno)), ());
        return berth_print_failure(&failure, (int)failure.exit_status);
    }
    if (before >= 0 && print_rest(before) < 0) return 0;
    if (print_rest(file) == 0 && follows) follow(directory, id, path, file);
    char words[80] = "";
    snprintf(path, sizeof path, "%s.status", id);
    BERTH_FD ending = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (ending >= 0 && read(ending, words, sizeof words - 1) > 0)
        fprintf(stderr, "berth: %s %.*s\n", argv[optind], (int)strcspn(words, "\n"), words);
    return 0;
}

/* Questions about files and file systems. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

enum { BLOCK = 4096, MOST_FILE = 512 * 1024 };

/* MODE UID DEVICE TYPE FLAGS BLOCK-SIZE BLOCKS AVAILABLE FILES FREE-FILES, of a directory only after an entry
 * of it was read: what the kernel remembers of a file system whose server is gone does not count. */
int probe_stat(const char* path) {
    struct stat file;
    struct statfs system;
    if (stat(path, &file) < 0) return probe_failed("stat", path);
    if (statfs(path, &system) < 0) return probe_failed("statfs", path);
    if (S_ISDIR(file.st_mode)) {
        DIR* directory = opendir(path);
        if (directory == NULL) return probe_failed("opendir", path);
        errno = 0;
        if (readdir(directory) == NULL && errno != 0) return probe_failed("readdir", path);
        closedir(directory);
    }
    printf("%o %u %" PRIu64 " %" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
           " %" PRIu64 "\n",
           file.st_mode, file.st_uid, (uint64_t)file.st_dev, (uint64_t)system.f_type,
           (uint64_t)system.f_flags, (uint64_t)system.f_bsize, (uint64_t)system.f_blocks,
           (uint64_t)system.f_bavail, (uint64_t)system.f_files, (uint64_t)system.f_ffree);
    return 0;
}

static int open_scratch(const char* directory) {
    const int fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
    /* A file system without nameless files. */
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/.berth-health-XXXXXX", directory) >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int named = mkostemp(path, O_CLOEXEC);
    if (named >= 0) unlink(path);
    return named;
}

/* Writes a block and has it reach the disk, or the server. Prints by how many milliseconds the file system's
 * clock is ahead of this node's. */
int probe_write(const char* directory) {
    static const char block[BLOCK];
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_REALTIME, &before);
    const int fd = open_scratch(directory);
    if (fd < 0) return probe_failed("open", directory);
    if (write(fd, block, sizeof block) != (ssize_t)sizeof block) return probe_failed("write", directory);
    if (fsync(fd) < 0) return probe_failed("fsync", directory);
    struct stat file;
    if (fstat(fd, &file) < 0) return probe_failed("fstat", directory);
    clock_gettime(CLOCK_REALTIME, &after);
    const int64_t written = (int64_t)file.st_mtim.tv_sec * 1000 + file.st_mtim.tv_nsec / 1000000;
    const int64_t first = (int64_t)before.tv_sec * 1000 + before.tv_nsec / 1000000;
    const int64_t last = (int64_t)after.tv_sec * 1000 + after.tv_nsec / 1000000;
    const int64_t ahead = written < first ? written - first : written > last ? written - last : 0;
    printf("%" PRId64 "\n", ahead);
    close(fd);
    return 0;
}

/* PATH, NUL, LENGTH, NUL, and the content; length -1 for a file that could not be read, with errno as
 * content. */
static int print_file(const char* path) {
    static char content[MOST_FILE];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t length = fd < 0 ? -1 : 0;
    while (length >= 0 && length < MOST_FILE) {
        const ssize_t got = read(fd, content + length, MOST_FILE - (size_t)length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) length = -1;
        if (got <= 0) break;
        length += got;
    }
    const int error = errno;
    if (fd >= 0) close(fd);
    printf("%s%c%zd%c", path, '\0', length, '\0');
    if (length < 0) {
        printf("%d%c", error, '\0');
        return 0;
    }
    return fwrite(content, 1, (size_t)length, stdout) == (size_t)length ? 0 : 1;
}

/* SKIP TAKE PATTERN...: how many files match, NUL, and some of them, sorted. */
int probe_cat(probe_words arguments) {
    if (arguments[0] == NULL || arguments[1] == NULL || arguments[2] == NULL) return 2;
    const size_t skip = strtoul(arguments[0], NULL, 10);
    const size_t take = strtoul(arguments[1], NULL, 10);
    glob_t found = {0};
    for (int i = 2; arguments[i] != NULL; i++) {
        const int result = glob(arguments[i], i > 2 ? GLOB_APPEND : 0, NULL, &found);
        if (result != 0 && result != GLOB_NOMATCH) return probe_failed("glob", arguments[i]);
    }
    printf("%zu%c", found.gl_pathc, '\0');
    for (size_t i = skip; i < found.gl_pathc && i - skip < take; i++) {
        if (print_file(found.gl_pathv[i]) != 0) return 1;
    }
    return 0;
}

/* The path without symbolic links, and a NUL. */
int probe_real(const char* path) {
    char* real = realpath(path, NULL);
    if (real == NULL) return probe_failed("realpath", path);
    printf("%s%c", real, '\0');
    free(real);
    return 0;
}

/* PATTERN...: PATH, MODE, UID, SIZE, SECONDS SINCE IT WAS CHANGED, a NUL after each, for each file that
 * matches, sorted by pattern. Symbolic links are not followed. */
int probe_list(probe_words patterns) {
    if (patterns[0] == NULL) return 2;
    glob_t found = {0};
    for (int i = 0; patterns[i] != NULL; i++) {
        const int result = glob(patterns[i], i > 0 ? GLOB_APPEND : 0, NULL, &found);
        if (result != 0 && result != GLOB_NOMATCH) return probe_failed("glob", patterns[i]);
    }
    const time_t now = time(NULL);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct stat file;
        if (lstat(found.gl_pathv[i], &file) < 0) continue;
        printf("%s%c%o%c%u%c%" PRIu64 "%c%" PRId64 "%c", found.gl_pathv[i], '\0', file.st_mode, '\0',
               file.st_uid, '\0', (uint64_t)file.st_size, '\0', (int64_t)(now - file.st_mtim.tv_sec), '\0');
    }
    return 0;
}

/* LENGTH bytes from OFFSET on, or fewer at the end. */
int probe_slice(const char* path, const char* offset, const char* length) {
    static char chunk[64 * 1024];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return probe_failed("open", path);
    off_t at = (off_t)strtoll(offset, NULL, 10);
    int64_t left = strtoll(length, NULL, 10);
    while (left > 0) {
        const size_t most = left < (int64_t)sizeof chunk ? (size_t)left : sizeof chunk;
        const ssize_t got = pread(fd, chunk, most, at);
        if (got < 0 && errno == EINTR) continue;
        /* What was sent already cannot be taken back: the status alone tells. */
        if (got < 0) return 3;
        if (got == 0) break;
        if (fwrite(chunk, 1, (size_t)got, stdout) != (size_t)got) return 2;
        at += got;
        left -= got;
    }
    close(fd);
    return 0;
}

#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire.h"

enum {
    MOST_BYTES = 8 * 1024 * 1024, /* of a file; there are two */
    MOST_LOGS = 20,
};

void berth_log_close(struct berth_log* log) {
    berth_close(&log->file);
    berth_close(&log->status);
    berth_close(&log->directory);
}

static int open_directory(int parent, const char* name, bool makes) {
    if (makes && mkdirat(parent, name, 0700) < 0 && errno != EEXIST) return -1;
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int berth_log_directory(bool makes) {
    const char* state = getenv("XDG_STATE_HOME");
    const bool said = state != NULL && state[0] == '/';
    const char* home = getenv("HOME");
    if (!said && (home == NULL || home[0] != '/')) {
        errno = ENOENT;
        return -1;
    }
    const char* const of_home[] = {".local", "state", "berth", "logs", berth_host()};
    const char* const* names = said ? of_home + 2 : of_home;
    const size_t count = said ? 3 : 5;
    if (said && makes && mkdir(state, 0700) < 0 && errno != EEXIST) return -1;
    BERTH_FD directory = open(said ? state : home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < count && directory >= 0; i++) {
        const int next = open_directory(directory, names[i], makes);
        berth_close(&directory);
        directory = next;
    }
    return berth_take(&directory);
}

static void close_listing(DIR** listing) {
    if (*listing != NULL) closedir(*listing);
}
#define LISTING __attribute__((cleanup(close_listing))) DIR*

static DIR* list(int directory) {
    const int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return again < 0 ? NULL : fdopendir(again);
}

/* ID of a file ID.log; false for any other. */
static bool log_id(const char* file, char* id, size_t size) {
    const char* end = strstr(file, ".log");
    if (end == NULL || strcmp(end, ".log") != 0 || (size_t)(end - file) >= size) return false;
    memcpy(id, file, (size_t)(end - file));
    id[end - file] = '\0';
    return true;
}

bool berth_log_has_ended(int directory, const char* id) {
    char file[48];
    snprintf(file, sizeof file, "%s.status", id);
    BERTH_FD status = openat(directory, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    /* Where a file system knows no locks, nothing is taken for ended. */
    return status < 0 || flock(status, LOCK_EX | LOCK_NB) == 0;
}

static void remove_log(int directory, const char* id) {
    static const char* const endings[] = {"log.1", "status", "log"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char file[80];
        snprintf(file, sizeof file, "%s.%s", id, endings[i]);
        unlinkat(directory, file, 0);
    }
}

/* Removes names whose logs are gone. */
static void remove_stale_names(int directory) {
    LISTING listing = list(directory);
    if (listing == NULL) return;
    for (struct dirent* entry; (entry = readdir(listing)) != NULL;) {
        char id[40];
        char file[48];
        if (strncmp(entry->d_name, "name.", 5) != 0) continue;
        const ssize_t length = readlinkat(directory, entry->d_name, id, sizeof id - 1);
        if (length <= 0) continue;
        id[length] = '\0';
        snprintf(file, sizeof file, "%s.log", id);
        if (faccessat(directory, file, F_OK, 0) < 0) unlinkat(directory, entry->d_name, 0);
    }
}

/* Removes the oldest log of a container that has ended, while there are as many as are kept. */
static void make_room(int directory) {
    for (;;) {
        char oldest[40] = "";
        struct timespec oldest_time = {0};
        int count = 0;
        LISTING listing = list(directory);
        if (listing == NULL) return;
        for (struct dirent* entry; (entry = readdir(listing)) != NULL;) {
            char id[40];
            struct stat status;
            if (!log_id(entry->d_name, id, sizeof id) ||
                fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
                continue;
            count++;
            const struct timespec* time = &status.st_mtim;
            const bool older = oldest[0] == '\0' || time->tv_sec < oldest_time.tv_sec ||
                               (time->tv_sec == oldest_time.tv_sec && time->tv_nsec < oldest_time.tv_nsec);
            if (!older || !berth_log_has_ended(directory, id)) continue;
            snprintf(oldest, sizeof oldest, "%s", id);
            oldest_time = *time;
        }
        if (count < MOST_LOGS || oldest[0] == '\0') break;
        remove_log(directory, oldest);
    }
    remove_stale_names(directory);
}

static int open_new(const struct berth_log* log, const char* ending) {
    char file[48];
    snprintf(file, sizeof file, "%s.%s", log->id, ending);
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    return openat(log->directory, file, flags, 0600);
}

static int open_log(struct berth_log* log) {
    BERTH_FD opened = open_new(log, "log");
    if (opened < 0) return -1;
    berth_close(&log->file);
    log->file = berth_take(&opened);
    log->size = 0;
    return 0;
}

static int open_status(struct berth_log* log) {
    log->status = open_new(log, "status");
    if (log->status >= 0) flock(log->status, LOCK_EX | LOCK_NB);
    return log->status < 0 ? -1 : 0;
}

int berth_log_begin(struct berth_log* log, const char* id, const char* name, struct berth_failure* failure) {
    snprintf(log->id, sizeof log->id, "%s", id);
    log->directory = berth_log_directory(true);
    if (log->directory >= 0) make_room(log->directory);
    if (log->directory < 0 || open_status(log) < 0 || open_log(log) < 0)
        return BERTH_FAIL(failure, BERTH_RUN_FAILED, ("the container's log could not be begun", berth_host()),
                          (BERTH_TEXT("below XDG_STATE_HOME, or .local/state of HOME: %s", strerror(errno))),
                          ());
    if (name == NULL) return 0;
    char link[160];
    snprintf(link, sizeof link, "name.%s", name);
    unlinkat(log->directory, link, 0);
    if (symlinkat(id, log->directory, link) == 0) return 0;
    return BERTH_FAIL(failure, BERTH_RUN_FAILED, ("the container's log could not be begun", berth_host()),
                      (BERTH_TEXT("symlinkat: %s", strerror(errno))), ());
}

void berth_log_write(struct berth_log* log, const char* bytes, size_t length) {
    if (log->size >= MOST_BYTES) {
        char file[48];
        char before[48];
        snprintf(file, sizeof file, "%s.log", log->id);
        snprintf(before, sizeof before, "%s.log.1", log->id);
        if (renameat(log->directory, file, log->directory, before) < 0 || open_log(log) < 0) return;
    }
    while (length > 0) {
        const ssize_t written = write(log->file, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        bytes += written;
        length -= (size_t)written;
        log->size += written;
    }
}

void berth_log_end(struct berth_log* log, const char* words) {
    dprintf(log->status, "%s\n", words);
}

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
#include <sys/wait.h>
#include <unistd.h>

#include "wire.h"

enum {
    MOST_BYTES = 8 * 1024 * 1024, /* of a file; there are two */
    MOST_LOGS = 20,
    SHORTEST_PREFIX = 4,
    /* Where a file system knows no locks, nobody tells of an end. */
    LOOK_S = 1,
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

/* How many logs' ids begin like that; `id` is the last of them. */
static int find_by_prefix(int directory, const char* prefix, char id[BERTH_LOG_ID]) {
    LISTING listing = list(directory);
    int count = 0;
    if (listing == NULL) return 0;
    for (struct dirent* entry; (entry = readdir(listing)) != NULL;) {
        char one[BERTH_LOG_ID];
        if (!log_id(entry->d_name, one, sizeof one) || strncmp(one, prefix, strlen(prefix)) != 0) continue;
        memcpy(id, one, sizeof one);
        count++;
    }
    return count;
}

int berth_log_find(const char* name, char id[BERTH_LOG_ID], struct berth_failure* failure) {
    BERTH_FD directory = berth_log_directory(false);
    char link[160];
    if (directory < 0)
        return BERTH_FAIL(failure, BERTH_LOG_UNKNOWN, (name), ("nothing has been run in the background here"),
                          ());
    if (strchr(name, '/') != NULL || (size_t)snprintf(link, sizeof link, "name.%s", name) >= sizeof link)
        return BERTH_FAIL(failure, BERTH_LOG_UNKNOWN, (name), ("that is neither a name nor an id"), ());
    const ssize_t length = readlinkat(directory, link, id, BERTH_LOG_ID - 1);
    if (length > 0) {
        id[length] = '\0';
        return berth_take(&directory);
    }
    const int count = strlen(name) < SHORTEST_PREFIX ? 0 : find_by_prefix(directory, name, id);
    if (count == 1) return berth_take(&directory);
    const char* why = count == 0 ? "no container in the background of that name or id has run here lately"
                                 : "the ids of several begin so";
    return BERTH_FAIL(failure, BERTH_LOG_UNKNOWN, (name), (why), ());
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
        char id[BERTH_LOG_ID];
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
        char oldest[BERTH_LOG_ID] = "";
        struct timespec oldest_time = {0};
        int count = 0;
        LISTING listing = list(directory);
        if (listing == NULL) return;
        for (struct dirent* entry; (entry = readdir(listing)) != NULL;) {
            char id[BERTH_LOG_ID];
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

void berth_log_end(struct berth_log* log, int status) {
    if (WIFSIGNALED(status))
        dprintf(log->status, "ended by signal %d\n", WTERMSIG(status));
    else
        dprintf(log->status, "ended with status %d\n", WEXITSTATUS(status));
}

/* What berth_log_end has noted, or -1. The file is the user's, who may have written anything. */
static int noted_end(int file) {
    static const struct {
        const char* words;
        long base;
    } ends[] = {{"ended with status ", 0}, {"ended by signal ", 128}};
    char text[80] = "";
    if (pread(file, text, sizeof text - 1, 0) <= 0) return -1;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const size_t length = strlen(ends[i].words);
        if (strncmp(text, ends[i].words, length) != 0) continue;
        const long status = ends[i].base + strtol(text + length, NULL, 10);
        return status < 0 || status > UCHAR_MAX ? -1 : (int)status;
    }
    return -1;
}

int berth_log_wait(int directory, const char* id) {
    char path[64];
    snprintf(path, sizeof path, "%s.status", id);
    BERTH_FD file = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return -1;
    while (flock(file, LOCK_SH) < 0) {
        if (errno == EINTR) continue;
        while (noted_end(file) < 0) sleep(LOOK_S);
        break;
    }
    return noted_end(file);
}

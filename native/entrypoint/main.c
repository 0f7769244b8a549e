/* Runs in a container, as its user, before a rank's program: starts the image's entrypoint, and reports what
 * it has prepared. See report.h.
 *
 *   entrypoint --start FD      becomes the image's entrypoint, with this as its command:
 *   entrypoint --report FD     writes the report
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

enum { STATUS_FAILED = 125, MOST_WORDS = 1024, MOST_TEXT = 64 * 1024 };

static char body[ENTRYPOINT_MOST_BYTES];
static size_t used;

static int write_all(int fd, const void* bytes, size_t length) {
    for (const char* at = bytes; length > 0;) {
        const ssize_t written = write(fd, at, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return -1;
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

static int send_report(int fd, enum entrypoint_result result) {
    const struct entrypoint_report report = {.result = result, .length = (uint32_t)used};
    return write_all(fd, &report, sizeof report) < 0 ? -1 : write_all(fd, body, used);
}

__attribute__((format(printf, 2, 3))) static int fail(int fd, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(body, PIPE_BUF, format, arguments);
    va_end(arguments);
    used = length < 0 ? 0 : (size_t)length;
    if (used >= PIPE_BUF) used = PIPE_BUF - 1;
    send_report(fd, ENTRYPOINT_FAILED);
    return STATUS_FAILED;
}

static bool add(const char* text) {
    const size_t length = strlen(text) + 1;
    if (length > sizeof body - used) return false;
    memcpy(body + used, text, length);
    used += length;
    return true;
}

static int report(int fd) {
    extern char** environ;
    char directory[PATH_MAX];
    char mask[8];
    if (getcwd(directory, sizeof directory) == NULL) return fail(fd, "getcwd: %s", strerror(errno));
    snprintf(mask, sizeof mask, "%03o", (unsigned)umask(0) & 0777U);
    bool fits = add(directory) && add(mask);
    for (char** variable = environ; fits && *variable != NULL; variable++) fits = add(*variable);
    if (!fits) return fail(fd, "it left an environment of more than %d bytes", ENTRYPOINT_MOST_BYTES);
    return send_report(fd, ENTRYPOINT_PREPARED) < 0 ? STATUS_FAILED : 0;
}

/* The image's words; their number, or -1 with errno. */
static int read_words(char** words, int most) {
    static char text[MOST_TEXT + 1];
    const int file = open(ENTRYPOINT_WORDS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return -1;
    size_t length = 0;
    for (ssize_t got = 1; got > 0 && length < MOST_TEXT; length += (size_t)got) {
        got = read(file, text + length, MOST_TEXT - length);
        if (got < 0) return -1;
    }
    int count = 0;
    for (char* word = text; word < text + length && count < most; word += strlen(word) + 1)
        words[count++] = word;
    if (length < MOST_TEXT && count < most) return count;
    errno = E2BIG;
    return -1;
}

static int start(int fd, char* number) {
    static char* words[MOST_WORDS + 4];
    int count = read_words(words, MOST_WORDS);
    if (count < 0) return fail(fd, "%s: %s", ENTRYPOINT_WORDS, strerror(errno));
    if (count == 0) return fail(fd, "%s is empty", ENTRYPOINT_WORDS);
    words[count++] = (char*)ENTRYPOINT_HELPER;
    words[count++] = (char*)ENTRYPOINT_REPORT;
    words[count++] = number;
    execvp(words[0], words);
    return fail(fd, "execvp %s: %s", words[0], strerror(errno));
}

int main(int argc, char** argv) {
    char* end = NULL;
    const long fd = argc == 3 ? strtol(argv[2], &end, 10) : -1;
    if (fd < 3 || fd > INT_MAX || *end != '\0') return STATUS_FAILED;
    if (strcmp(argv[1], ENTRYPOINT_START) == 0) return start((int)fd, argv[2]);
    return strcmp(argv[1], ENTRYPOINT_REPORT) == 0 ? report((int)fd) : STATUS_FAILED;
}

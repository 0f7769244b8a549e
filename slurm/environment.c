/* In srun, salloc and sbatch: what an environment file says. Only the `berth` command reads them, as the
 * user, where the user is: `berth env render --for-plugin -- FILE|NAME` prints it as options, one a line
 * (lines.h), image and all, or tells the user why not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth_plugin.h"

/* Components of a heterogeneous command have the same, and it is read once. */
static struct {
    char name[4096];
    struct option_lines lines;
} last;

static int refuse(const char* name, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_OPTION, ("--environment", name), (why), ());
    return refuse_option(&failure);
}

/* What the command printed; -1 with errno. */
static int read_all(int file, char* text, size_t size) {
    size_t have = 0;
    for (ssize_t got = 1; got > 0; have += (size_t)got) {
        if (have == size - 1) {
            errno = E2BIG;
            return -1;
        }
        got = pread(file, text + have, size - 1 - have, (off_t)have);
        if (got < 0) return -1;
    }
    text[have] = '\0';
    return strlen(text) == have ? 0 : (errno = EILSEQ, -1);
}

int render_environment(const char* name, struct option_lines* lines) {
    static char text[MOST_LINES_TEXT + 2];
    if (strcmp(last.name, name) == 0) {
        *lines = last.lines;
        return 0;
    }
    BERTH_FD output = -1;
    char* const arguments[] = {
        (char*)"berth", (char*)"env", (char*)"render", (char*)"--for-plugin", (char*)"--", (char*)name, NULL};
    const enum command_result result = run_berth(arguments, &output);
    if (result == COMMAND_FAILED) return -1;
    if (result == COMMAND_NOT_STARTED)
        return refuse(name, BERTH_TEXT("%s, which reads it, could not be started", plugin.command));
    if (read_all(output, text, sizeof text) < 0)
        return refuse(name, BERTH_TEXT("its options could not be read: %s", strerror(errno)));
    const char* fault = lines_parse(lines, text);
    if (fault == NULL && lines_have(lines, SLOT_ENVIRONMENT)) fault = "it names another one";
    if (fault != NULL) return refuse(name, fault);
    snprintf(last.name, sizeof last.name, "%s", name);
    last.lines = *lines;
    return 0;
}

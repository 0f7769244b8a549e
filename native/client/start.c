#include "start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int messages = STDERR_FILENO;

void berth_print_on(int fd) {
    messages = fd;
}

int berth_print_failure(const struct berth_failure* failure, int status) {
    dprintf(messages, "berth: %s: %s\nberth:   why: %s\nberth:   hint: %s\n", failure->code, failure->what,
            failure->why, failure->hint);
    return status;
}

int berth_choose_directory(const char* said, const berth_v1_Interior* interior, const char* here) {
    const bool configured = interior->workdir[0] != '\0';
    const char* directory = said != NULL ? said : configured ? interior->workdir : here;
    if (berth_change_directory(directory)) return 0;
    if (said != NULL || (configured && interior->workdir_needed)) {
        struct berth_failure failure;
        BERTH_FAIL(&failure, BERTH_WORKDIR, (directory), (BERTH_TEXT("chdir: %s", strerror(errno))), ());
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    }
    berth_change_directory(interior->fallback_workdir);
    return 0;
}

int berth_change_environment(const struct berth_identity* identity, char* const* variables, int count,
                             struct berth_failure* failure) {
    const struct berth_environment environment = berth_received_environment();
    if (berth_apply_environment(&environment, &berth_own_variables, failure) < 0) return -1;
    berth_note_directory(&berth_own_variables);
    for (int i = 0; i < count; i++) putenv(variables[i]);
    setenv("BERTH_CONTAINER", identity->id, 1);
    setenv("BERTH_IMAGE", identity->image, 1);
    if (identity->digest != NULL) setenv("BERTH_IMAGE_DIGEST", identity->digest, 1);
    return 0;
}

int berth_become(char* const* command) {
    execvp(command[0], command);
    struct berth_failure failure;
    if (errno == ENOENT || errno == ENOTDIR) {
        BERTH_FAIL(&failure, BERTH_COMMAND_NOT_FOUND, (command[0]),
                   (BERTH_TEXT("execvp: %s", strerror(errno))), ());
    } else {
        BERTH_FAIL(&failure, BERTH_COMMAND_NOT_RUNNABLE, (command[0]),
                   (BERTH_TEXT("execvp: %s", strerror(errno))), ());
    }
    return berth_print_failure(&failure, (int)failure.exit_status);
}

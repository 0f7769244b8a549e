/* Starting a program in a container that this process has entered: for `berth exec` and `berth run`. */
#pragma once

#include "enter.h"

/* podman-run(1), podman-exec(1): the command's own status passes through, 125 is the runtime's own failure.
 */
enum { BERTH_STATUS_FAILED = 125 };

/* Tells the user; returns `status`. */
int berth_print_failure(const struct berth_failure* failure, int status);

/* Has failures told on this descriptor instead of standard error, which may be the program's already. */
void berth_print_on(int fd);

/* Goes to where the program starts: `said`, where the user did; else where the container's programs do, or
 * where this process was (`here`; may be NULL). 0, or the exit status after telling the user. */
int berth_choose_directory(const char* said, const berth_v1_Interior* interior, const char* here);

/* What a program is told of its container. */
struct berth_identity {
    const char* id;
    const char* image;
    const char* digest; /* or NULL */
};

/* Makes the changes to the environment that came with the last reply, then sets `variables` (NAME=VALUE,
 * which have to last). 0, or -1 with a failure. */
int berth_change_environment(const struct berth_identity* identity, char* const* variables, int count,
                             struct berth_failure* failure);

/* Becomes the program. Returns the exit status after telling the user why not. */
int berth_become(char* const* command);

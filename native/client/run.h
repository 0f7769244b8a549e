/* A container for the user who calls this, and a program in it: what `berth run` and `shifter` have in
 * common. */
#pragma once

#include <stdbool.h>

#include "variables.h"
#include "wire.h"

enum { BERTH_MOST_RUN_OPTIONS = 1024 + BERTH_MOST_VARIABLES };

struct berth_run {
    const char* socket;
    char image[4096]; /* empty where only a name is given */
    struct berth_option list[BERTH_MOST_RUN_OPTIONS];
    size_t count;
    struct berth_variable_list variables;
    const char* name;     /* of one in the background, or NULL */
    const char* program;  /* instead of the image's entrypoint, or NULL */
    char* const* command; /* ended by NULL; may be empty */
    bool detached;
    bool never_pull;
};

/* Adds an option as berthd knows it; the texts have to last. NULL, or what is wrong. */
const char* berth_run_add(struct berth_run* run, const char* name, const char* value);

/* Takes the image, or the full path of a file. NULL, or what is wrong with it. */
const char* berth_run_set_image(struct berth_run* run, const char* image);

/* Runs it. Returns only where it could not, or for a container in the background: an exit status, after
 * telling the user. */
int berth_run_go(struct berth_run* run);

/* The parts of that which a process in the background does too (detach.c). */
struct berth_ran {
    struct berth_descriptors namespaces;
    berth_v1_LaunchReply reply;
};
/* Asks berthd for the container, and pulls the image if need be. 0, or an exit status after telling the user.
 */
int berth_run_prepare(const struct berth_run* run, struct berth_ran* ran);
/* Enters it and becomes the program, which is killed when its parent `dies_with` ends; 0 for one that runs by
 * itself. Returns an exit status after telling the user. */
int berth_run_enter(const struct berth_run* run, struct berth_ran* ran, pid_t dies_with);

/* detach.c: runs it in the background. Returns an exit status. */
int berth_run_detached(const struct berth_run* run);

/* What the plugins' files share. One file per Slurm context: spank_berth.c, and spank_berth_prolog.c, hand
 * each callback to options.c  everywhere: options, plugstack.conf arguments, which steps are contained
 *   choice.c   srun, salloc and sbatch: one image out of several
 *   step.c     slurmstepd, before the ranks are forked
 *   task.c     a rank, between fork and exec
 *   job.c      prolog and epilog
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
/* spank.h uses stdint's types without including it. What it declares is what Slurm looks for. */
#pragma GCC visibility push(default)
#include <slurm/spank.h>
#pragma GCC visibility pop

#include "../native/client/wire.h"

#define BERTH_IMAGE_NONE "none"

struct plugin {
    /* plugstack.conf arguments */
    char socket[108];
    bool contain_batch;
    bool contain_interactive;
    int wait_ms;    /* how long a rank tries to reach berthd */
    int timeout_ms; /* how long a rank waits for its container */
    /* the user's option; empty when not given or "none" */
    char image[512];
};

extern struct plugin plugin;

/* options.c */
int options_configure(int argc, char** argv);
int options_register(spank_t spank);
/* Tells a user of srun what they would wonder about later. */
void options_warn(void);
/* Prolog and epilog know options only by asking. True when an image was asked for. */
bool options_query(spank_t spank);
/* Tells the user what is wrong with an option; -1. */
int refuse_option(const struct berth_failure* failure);
/* Is this a step whose tasks belong into the container? */
bool step_is_contained(spank_t spank);

/* This process' words, each ended by NUL, and one more NUL. Returns their length, or less than 1. */
ssize_t read_command_line(char* words, size_t size);

/* choice.c */
/* Before Slurm reads the environment: what the allocation was given as --container-image counts as --image,
 * whose place an srun's own --image takes. */
void choice_inherit(void);
/* A value of --image (option 0) or --container-image (1). -1 after telling the user that it cannot be
 * together with an earlier one. */
int choice_remember(int option, const char* argument);
/* When a component's options are known: -1 after telling the user that one would not have what it inherits.
 */
int choice_settle(void);

/* step.c */
void step_ask_early(spank_t spank);
void step_await_answer(void);
void step_close(void);

/* What slurmstepd learnt before it forked; the ranks inherit it. */
struct early_answer {
    bool known;  /* berthd answered */
    bool failed; /* … with an error */
    struct berth_failure failure;
    berth_v1_LaunchReply reply;
    struct berth_descriptors namespaces;
    uint32_t step_mntns; /* slurmstepd's own mount namespace */
};
extern struct early_answer early;
/* The connection to berthd on which the ranks report, or -1. */
extern int step_connection;

/* Fills in a launch request about this step. `groups` must outlive the request. */
int step_describe(spank_t spank, berth_v1_LaunchRequest* launch, struct berth_groups* groups);
/* Inode of the calling process' mount namespace. */
uint32_t own_mount_namespace(void);

/* task.c */
int task_init_privileged(spank_t spank);
int task_init(spank_t spank);

/* job.c */
int job_prolog(spank_t spank);
int job_epilog(spank_t spank);

/* What the plugins' files share. One file per Slurm context: spank_berth.c, and spank_berth_prolog.c, hand
 * each callback to options.c  everywhere: options, plugstack.conf arguments, which steps are contained
 *   choice.c   srun, salloc and sbatch: one image out of several
 *   pin.c      everywhere: what the image's name meant when the job was submitted
 *   pull.c     srun, salloc and sbatch: an image that is not there yet
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

/* Where packages put the command; command=PATH in plugstack.conf says where else it is. */
#ifndef BERTH_COMMAND
#define BERTH_COMMAND "/usr/bin/berth"
#endif

struct plugin {
    /* plugstack.conf arguments */
    char socket[108];
    char command[1024]; /* the `berth` command, for pulls at submit */
    bool pull;          /* are missing images pulled at submit? */
    bool contain_batch;
    bool contain_interactive;
    int wait_ms;    /* how long a rank tries to reach berthd */
    int timeout_ms; /* how long a rank waits for its container */
    /* the user's option; empty when not given or "none" */
    char image[4096];
};

extern struct plugin plugin;

/* options.c */
int options_configure(int argc, char** argv);
int options_register(spank_t spank);
/* Tells a user of srun what they would wonder about later. */
void options_warn(void);
/* In slurmstepd: with --export, Slurm 22.05 keeps sbatch's options from the batch step, which must not run on
 * the host for that. */
void options_recover(spank_t spank);
/* Prolog and epilog know options only by asking. True when an image was asked for. */
bool options_query(spank_t spank);
/* What is wrong with a text as the value of --image, or NULL. */
const char* image_fault(const char* text);
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

/* Was this command told an image itself? Otherwise it has its allocation's, or none. */
bool choice_is_own(void);

/* pin.c */
/* In srun, salloc and sbatch, when a component's options are known: finds out what the image is, has it
 * pulled where it is missing, and sees to it that the nodes learn it. -1 after telling the user why it cannot
 * be had. */
int pin_settle(spank_t spank);
/* What to ask berthd of a node for: what the image was pinned to, or as the user gave it. */
void pin_of_step(spank_t spank, char* image, size_t size);
void pin_of_prolog(char* image, size_t size);

/* pull.c */
enum pull_result {
    PULL_DONE,
    PULL_FAILED,      /* the user knows why */
    PULL_NOT_STARTED, /* there is no such command */
};
enum pull_result pull_image(void);

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

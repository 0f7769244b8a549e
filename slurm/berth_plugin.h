/* What the plugins' files share. One file per Slurm context: spank_berth.c, and spank_berth_prolog.c, hand
 * each callback to
 *   arguments.c    everywhere: plugstack.conf's arguments
 *   options.c      everywhere: the options, as Slurm has them (table.c, lines.c)
 *   forward.c      everywhere: how options come from srun, salloc and sbatch to the nodes
 *   contain.c      slurmstepd: which steps are contained
 *   choice.c       srun, salloc and sbatch: which options hold
 *   defaults.c     … of those in the environment
 *   environment.c  … and those in an environment file
 *   pin.c          everywhere: what the image's name meant when the job was submitted
 *   command.c      srun, salloc and sbatch: the berth command
 *   step.c         slurmstepd, before the ranks are forked
 *   task.c         a rank, between fork and exec
 *   entrypoint.c   … that has the image's entrypoint run (waiting.c)
 *   save.c         slurmstepd, when a rank has ended
 *   job.c          prolog and epilog
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
/* spank.h uses stdint's types without including it. What it declares is what Slurm looks for. */
#pragma GCC visibility push(default)
#include <slurm/spank.h>
#pragma GCC visibility pop

#include "../native/client/wire.h"
#include "contain.h"
#include "lines.h"

#define BERTH_IMAGE_NONE "none"

/* Where packages put the command; command=PATH in plugstack.conf says where else it is. */
#ifndef BERTH_COMMAND
#define BERTH_COMMAND "/usr/bin/berth"
#endif

struct plugin {
    /* plugstack.conf arguments */
    char socket[108];
    char command[1024];         /* the `berth` command, for what is done at submit */
    bool pull;                  /* are missing images pulled at submit? */
    int wait_ms;                /* how long a rank tries to reach berthd */
    int timeout_ms;             /* how long a rank waits for its container */
    struct containment contain; /* of plugstack.conf, or of the user */
    /* what holds for this command, step or job */
    struct option_lines options;
    char image[LONGEST_IMAGE + 1]; /* as the user gave it; empty for none */
    bool has_container;
    const char* fault; /* on a node: why the options cannot be read; NULL when they can */
};

extern struct plugin plugin;

/* arguments.c */
int arguments_configure(int argc, char** argv);

/* options.c */
int options_register(spank_t spank);
/* Tells a user of srun what they would wonder about later. */
void options_warn(void);
/* In slurmstepd: what Slurm brought. In the prolog it brings only what it is asked for. */
const struct option_lines* options_forwarded(void);
const struct option_lines* options_of_job(spank_t spank);
/* Tells the user what is wrong with an option; -1. */
int refuse_option(const struct berth_failure* failure);
/* This process' words, each ended by NUL; `length` bytes in all. */
const char* command_line(size_t* length);

/* contain.c */
/* Is this a step whose tasks belong into the container? */
bool step_is_contained(spank_t spank);

/* choice.c */
/* Before Slurm reads the environment: learns what is inherited, and keeps Slurm from its own way of it. -1
 * after telling the user that it cannot be read. */
int choice_begin(void);
/* An option of the command line or a batch script. -1 after telling the user that it cannot be, or not
 * together with an earlier one. */
int choice_remember(const struct option_row* row, const char* value);
/* When a component's options are known: what holds for the command so far. -1 after telling the user what is
 * wrong. */
int choice_settle(struct option_lines* result);
/* Was the command told more than an image, itself? */
bool choice_has_own_options(void);
/* Is the image the allocation's, and not the command's own? */
bool choice_has_inherited_image(void);

/* defaults.c: both -1 after telling the user what is wrong with a variable */
/* Adds which container it is to be, where the options don't say. */
int defaults_add_container(struct option_lines* lines);
/* Adds the others, where the options don't say. */
int defaults_add_rest(struct option_lines* lines);

/* environment.c */
/* What an environment file says. -1 after telling the user what is wrong with it. */
int render_environment(const char* name, struct option_lines* lines);

/* forward.c */
/* Removes the variables by which Slurm itself forwards options (plugstack.c, Slurm 22.05 to 25.11): it sets
 * them when a component's options are known, also for its job's prolog, and reads them in the sruns of a job,
 * and in the next component, as if they stood in the command line. They keep the last value of an option
 * only, and know nothing of slots. */
void forward_alone(spank_t spank);
/* In an srun within a job: the options of its allocation. NULL, or what is wrong with them; then there are
 * none. */
const char* forward_inherit(struct option_lines* lines);
/* Sees to it that the nodes, the prolog and the sruns in the job learn the options, and has this process use
 * them. */
void forward_send(spank_t spank, const struct option_lines* lines);
/* Has this process use the options of the step or job. */
void forward_receive_step(spank_t spank);
void forward_receive_prolog(spank_t spank);
/* What is told of options that cannot be read. */
void forward_explain(const char* fault, struct berth_failure* failure);
/* Has a request tell them to berthd. One request at a time. */
void forward_request(pb_callback_t* field);

/* pin.c */
/* In srun, salloc and sbatch, when a component's options are known: finds out what the image is, has it
 * pulled where it is missing, and sees to it that the nodes learn it. -1 after telling the user why it cannot
 * be had. */
int pin_settle(spank_t spank);
/* What to ask berthd of a node for: what the image was pinned to, or as the user gave it. */
void pin_of_step(spank_t spank, char* image, size_t size);
void pin_of_prolog(char* image, size_t size);

/* command.c */
enum command_result {
    COMMAND_DONE,
    COMMAND_FAILED,      /* the user knows why */
    COMMAND_NOT_STARTED, /* there is no such command */
};
/* Runs the `berth` command. What it prints is to be read from `*output`, or goes to standard error when that
 * is NULL. */
enum command_result run_berth(char* const* arguments, int* output);

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

/* entrypoint.c */
/* In a rank that is inside: has the image's entrypoint run, and takes over what it prepared. -1 with
 * BERTH_ENTRYPOINT. */
int entrypoint_run(spank_t spank, bool shows_output, struct berth_failure* failure);

/* save.c */
/* In slurmstepd, before it forks the ranks. */
void save_step_begins(void);

/* Is this the node that saves the step's container? */
bool save_is_wanted(spank_t spank);
/* Has the container saved, where that was asked for and this was the last task of the step's first node.
 * Tells the user what came of it. */
void save_task_exit(spank_t spank);

/* job.c */
int job_prolog(spank_t spank);
int job_epilog(spank_t spank);

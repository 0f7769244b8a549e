/* What a container does to the environment of a program that enters it: berth.proto, EnvironmentChange. */
#pragma once

#include <stddef.h>

#include "berth.pb.h"
#include "failure.h"

/* One change, decoded. Its texts last as long as the reply they came with. */
struct berth_change {
    berth_v1_EnvironmentChange_Kind kind;
    const char* name; /* neither empty nor with a '=' */
    const char* value;
    char separator[2];
};

/* The changes of one reply, in the order in which they are to be made. */
struct berth_environment {
    const struct berth_change* changes;
    size_t count;
};

/* An environment that changes are made to: a process's own, or the one that Slurm will give a program. */
struct berth_variables {
    void* context;
    /* NULL when there is no such variable. The text has to last until the next call. */
    const char* (*get)(void* context, const char* name);
    /* 0, or -1 with errno. */
    int (*set)(void* context, const char* name, const char* value);
    int (*unset)(void* context, const char* name);
};

/* Makes the changes. 0, or -1 with BERTH_JOIN_FAILED: then the program must not be started. */
int berth_apply_environment(const struct berth_environment* environment,
                            const struct berth_variables* variables, struct berth_failure* failure);

/* Has PWD say in which directory this process is, unless it does: a shell that was there before may have come
 * over a link, and called it so. Best effort, as what the kernel says stands. */
void berth_note_directory(const struct berth_variables* variables);

/* This process's own environment. */
extern const struct berth_variables berth_own_variables;

/* The changes that came with the last reply that berth_receive took; valid until the next one comes. They
 * are kept in memory of this library, for whose size see environment.c: nothing here allocates. */
struct berth_environment berth_received_environment(void);

/* For wire.c: forgets what is kept; has `field` (Interior.environment) be decoded into it. */
void berth_forget_environment(void);
void berth_expect_environment(pb_callback_t* field);

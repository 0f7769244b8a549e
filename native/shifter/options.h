/* Shifter's command line, and what the job says: for `shifter` on a host (native/client/shifter.c) and in a
 * container (native/shifter/main.c). */
#pragma once

#include <stdbool.h>

#include "../client/variables.h"

enum { SHIFTER_MOST_VOLUMES = 256 };

/* Options of the command line; NULL for one that was not given. */
struct shifter_options {
    const char* image;
    const char* module;
    const char* workdir;
    const char* entrypoint; /* a program instead of the image's; empty where none is named */
    bool by_entrypoint;
    bool wants_help;
    const char* volumes[SHIFTER_MOST_VOLUMES];
    int volume_count;
    struct berth_variable_list variables;
    char* const* command; /* ended by NULL; may be empty */
};

/* What is wrong with a command line. */
struct shifter_fault {
    const char* option;
    const char* why;
};

/* 0, or -1 with a fault. */
int shifter_parse(int argc, char** argv, struct shifter_options* options, struct shifter_fault* fault);

/* An option that the job was given, as Berth's plugin forwards it (slurm/forward.c): the next line of
 * SLURM_SPANK_BERTH_OPTIONS from `*at` on, which is NULL at first. Cuts the lines of that copy. False at the
 * end. */
struct shifter_line {
    const char* name;
    const char* value; /* empty without one */
};
bool shifter_next_line(char** at, struct shifter_line* line);

/* The image that the job's environment names: what it was pinned to where it was; "" for none. */
void shifter_image_of_job(char* image, unsigned size);

/* Variables that a user sets for a program: on the command line, and in files of them. */
#pragma once

#include <stddef.h>

enum { BERTH_MOST_VARIABLES = 1024 };

/* NAME=VALUE each, allocated; let go of with berth_variables_free. */
struct berth_variable_list {
    char* text[BERTH_MOST_VARIABLES];
    size_t count;
};

void berth_variables_free(struct berth_variable_list* list);

/* Adds NAME=VALUE, or NAME for the value that this process has; without one, nothing is added. NULL, or what
 * is wrong with it. */
const char* berth_variables_add(struct berth_variable_list* list, const char* text);

/* Adds those of a file, a line each: as above; empty lines and those that begin with "#" are left out. NULL,
 * or what is wrong. */
const char* berth_variables_read(struct berth_variable_list* list, const char* path);

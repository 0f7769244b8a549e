/* Slurm leaves its own processes alone when it signals a step (proctrack/linuxproc by their name), and they
 * leave the signals for later. A rank that waits is to end like a program: a pull takes minutes. */
#pragma once

#include <signal.h>

struct waiting {
    char name[16];
    sigset_t blocked;
};

void begin_waiting(struct waiting* waiting);
void end_waiting(const struct waiting* waiting);

/* Ends with its scope. */
#define WAITING __attribute__((cleanup(end_waiting))) struct waiting

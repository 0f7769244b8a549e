/* The probe: berthd's short-lived child for what may hang. Each question is answered by a process of its own,
 * which is killed when it takes too long; berthd itself never waits for a file system, a device or a program.
 *
 * Descriptors: 3 the socket to berthd; 4 a mount namespace where `enter` is asked. Takes no arguments and no
 * environment. Ends, with all of its children, when the socket is closed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { PROBE_SOCKET = 3, PROBE_NAMESPACE = 4 };

/* The words of a question: what is asked, and about what. Ends with NULL. */
typedef char* const* probe_words;

/* Answers on standard output. Runs in a process of its own, which then exits with the returned status: 0, or
 * 1 when the output is the failed call, its object and errno in three lines. */
int probe_answer(probe_words words);

/* verbs_system.c */
/* When the process of /proc/PID/stat was started, in clock ticks since the machine was (proc_pid_stat(5)); 0
 * when the text does not say. */
unsigned long long probe_start_time(const char* stat);
int probe_clock(void);
int probe_blocked(void);
int probe_loop(void);
int probe_user_namespace(probe_words arguments);
int probe_run(probe_words arguments);
int probe_enter(probe_words arguments);

/* verbs_files.c */
int probe_stat(const char* path);
int probe_real(const char* path);
int probe_write(const char* directory);
int probe_cat(probe_words arguments);
int probe_list(probe_words patterns);
int probe_slice(const char* path, const char* offset, const char* length);

/* Prints the failure of a system call; 1. */
int probe_failed(const char* call, const char* object);

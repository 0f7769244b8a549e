/* What containers in the background print: in the user's own files, on the host where they run,
 *
 *   $XDG_STATE_HOME/berth/logs/HOST/ID.log      the newest, up to 8 MiB
 *                                   ID.log.1    up to 8 MiB before that
 *                                   ID.status   locked while it runs; then how it ended, in words
 *                                   name.NAME   a symbolic link to ID
 *
 * ($HOME/.local/state where XDG_STATE_HOME is not set). The last 20 of a host are kept: starting another
 * one removes the oldest of those that have ended. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "failure.h"

enum { BERTH_LOG_ID = 40 };

struct berth_log {
    int directory;
    int file;
    int status;
    char id[BERTH_LOG_ID];
    off_t size;
};

void berth_log_close(struct berth_log* log);

/* Opens the directory of this host's logs, and makes it where `makes` says so. The descriptor, or -1 with
 * errno. */
int berth_log_directory(bool makes);

/* Begins the log of a container; `name` may be NULL. 0, or -1 with BERTH_RUN_FAILED. */
int berth_log_begin(struct berth_log* log, const char* id, const char* name, struct berth_failure* failure);

/* What does not fit on the disk is lost: the program goes on. */
void berth_log_write(struct berth_log* log, const char* bytes, size_t length);

/* Finds the log of a container by its name, its id, or the beginning of that. The directory of this host's
 * logs, or -1 with BERTH_LOG_UNKNOWN. */
int berth_log_find(const char* name, char id[BERTH_LOG_ID], struct berth_failure* failure);

/* Has a container ended? `directory` is that of this host's logs. */
bool berth_log_has_ended(int directory, const char* id);

/* Notes how it ended: its status as waitpid(2) has it. */
void berth_log_end(struct berth_log* log, int status);

/* Waits until a container has ended. The exit status of its command, as a shell has it; -1 when nobody has
 * noted that. */
int berth_log_wait(int directory, const char* id);

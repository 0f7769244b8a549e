/* Entering a container, by the process that is to run in it. */
#pragma once

#include "wire.h"

/* Joins the namespaces that berthd gave (one: a mount namespace, by root; two: user and mount namespace, by
 * the user who owns them) and goes to the directory `cwd`, or to "/" where the container has no such
 * directory:
 * `*cwd_missing` tells. 0, or -1 with BERTH_JOIN_FAILED: then the process must not run the program. */
int berth_enter(const struct berth_descriptors* namespaces, const char* cwd, bool* cwd_missing,
                struct berth_failure* failure);

/* Gives up what is left of privilege: every capability set including the bounding set where permitted, and
 * no_new_privs, so that no setuid file in an image or volume gains anything. */
int berth_drop_privileges(struct berth_failure* failure);

/* Empties the capability bounding set only (needs CAP_SETPCAP). */
int berth_drop_bounding_set(struct berth_failure* failure);

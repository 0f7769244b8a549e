/* Entering a container, by the process that is to run in it. */
#pragma once

#include "wire.h"

/* Joins the namespaces that berthd gave (one: a mount namespace, by root; two: user and mount namespace, by
 * the user who owns them). The working directory is then the container's "/". 0, or -1 with
 * BERTH_JOIN_FAILED: then the process must not run the program. */
int berth_enter(const struct berth_descriptors* namespaces, struct berth_failure* failure);

/* Goes to a directory of the container, with the user's rights: root must not look up a path in an image.
 * False, and still in "/", where there is none or the user may not enter it. */
bool berth_change_directory(const char* directory);

/* Gives up what is left of privilege: every capability set including the bounding set where permitted, and
 * no_new_privs, so that no setuid file in an image or volume gains anything. */
int berth_drop_privileges(struct berth_failure* failure);

/* Forbids pushing input into a terminal (ioctl TIOCSTI, and TIOCLINUX, which can paste): for a process that
 * gets a terminal from somebody with more rights. Needs no_new_privs. */
int berth_guard_terminal(struct berth_failure* failure);

/* Empties the capability bounding set only (needs CAP_SETPCAP). */
int berth_drop_bounding_set(struct berth_failure* failure);

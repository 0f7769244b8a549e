/* Entering a container, by the process that is to run in it. */
#pragma once

#include "wire.h"

/* Joins the namespaces that berthd gave: the user namespace where there is one (then called by the user who
 * owns it, else by root), the mount namespace, and `interior->unshared` others. The working directory is then
 * the container's "/". 0, or -1 with BERTH_JOIN_FAILED: then the process must not run the program. */
int berth_enter(const struct berth_descriptors* namespaces, const berth_v1_Interior* interior,
                struct berth_failure* failure);

/* How many descriptors have to come with such a container. */
int berth_descriptors_of(bool user_namespace, const berth_v1_Interior* interior);

/* Goes to a directory of the container, with the user's rights: root must not look up a path in an image.
 * False, and still in "/", where there is none or the user may not enter it. */
bool berth_change_directory(const char* directory);

/* Empties the capability bounding set, of a process that has CAP_SETPCAP: before it drops its privileges.
 * With `interior->root` it stays whole: what it bounds counts in the container's user namespace only. */
int berth_drop_bounding_set(const berth_v1_Interior* interior, struct berth_failure* failure);

/* Gives up what is left of privilege: every capability set, and no_new_privs, so that no setuid file in an
 * image or volume gains anything.
 * With `interior->root` the process keeps the capabilities that it has in the container's user namespace:
 * they reach no further than the container. With `interior->pretend` what a single mapped id makes impossible
 * then seems to succeed (native/client/pretend.c). See docs/adr/0016. */
int berth_drop_privileges(const berth_v1_Interior* interior, struct berth_failure* failure);

/* Forbids pushing input into a terminal (ioctl TIOCSTI, and TIOCLINUX, which can paste): for a process that
 * gets a terminal from somebody with more rights. Needs no_new_privs, or CAP_SYS_ADMIN in the user namespace.
 */
int berth_guard_terminal(struct berth_failure* failure);

/* Has system calls that change owners or ids, or make device nodes, succeed without doing anything. Needs
 * what berth_guard_terminal needs; inherited, and never undone. */
int berth_pretend_root(struct berth_failure* failure);

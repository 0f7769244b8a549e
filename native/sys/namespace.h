#pragma once

#include <sys/types.h>

#include "failure.h"
#include "fd.h"

namespace berth {

/// Opens /proc/PID/ns/KIND and checks through the pidfd that the process lived on after that: so it was its
/// own.
Fd open_namespace(pid_t pid, int pidfd, const char* kind, Failure& failure);

/// ioctl NS_GET_USERNS (Linux 4.9): the user namespace that owns this namespace.
Fd owning_user_namespace(int ns, Failure& failure);

/// Writes uid_map and gid_map of the process' user namespace, each in a single write, as user_namespaces(7)
/// asks; unless `may_drop_groups`, setgroups(2) is denied before that.
int write_id_maps(pid_t pid, int pidfd, const char* uid_map, const char* gid_map, bool may_drop_groups,
                  Failure& failure);

/// Bind-mounts a namespace on a new file, which keeps it alive without a process.
int pin(int ns, const char* path, Failure& failure);

/// Lets go of a pin and removes its file. Neither being there is no failure.
int unpin(const char* path, Failure& failure);

/// Opens a pin; `is_pin` is false when the file is there but no namespace is mounted on it.
Fd open_pin(const char* path, bool& is_pin, Failure& failure);

/// A private tmpfs on `path`, unless it is one already. Private, because a namespace may not be pinned where
/// the mount would spread to others.
int prepare_pins(const char* path, Failure& failure);

}  // namespace berth

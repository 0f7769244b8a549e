#pragma once

#include <sys/types.h>

#include <vector>

#include "failure.h"

namespace berth {

/// A user, with all that says so in a process. The groups stay the caller's.
struct User {
    uid_t uid;
    gid_t gid;
    const std::vector<gid_t>& gids;
};

/// Ends this process when its parent ends. Has to be repeated whenever the credentials have changed: the
/// kernel forgets it then (prctl(2), PR_SET_PDEATHSIG).
int die_with_parent(Failure& failure);

/// Becomes the user for good: groups, group ids, user ids, and with them no capability.
int become_user(const User& user, Failure& failure);

/// No program that this process starts has more rights than it has: prctl(2), PR_SET_NO_NEW_PRIVS.
int renounce_privileges(Failure& failure);

/// The process stays who it is, but what it looks up, makes and writes is the user's (setfsuid(2)).
int take_filesystem_ids(const User& user, Failure& failure);

/// Are these the ids that count for file systems? setfsuid(2) and setfsgid(2) report no failure.
bool filesystem_ids_are(uid_t uid, gid_t gid);

}  // namespace berth

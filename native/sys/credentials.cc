#include "credentials.h"

#include <grp.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace berth {
namespace {

int take_groups(const User& user, Failure& failure) {
    if (setgroups(user.gids.size(), user.gids.data()) < 0)
        return failure.set("setgroups", "the user's supplementary groups");
    return 0;
}

}  // namespace

int die_with_parent(Failure& failure) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return failure.set("prctl", "PR_SET_PDEATHSIG");
    return 0;
}

int become_user(const User& user, Failure& failure) {
    if (take_groups(user, failure) < 0) return -1;
    if (setresgid(user.gid, user.gid, user.gid) < 0) return failure.set("setresgid", "the user's group");
    if (setresuid(user.uid, user.uid, user.uid) < 0) return failure.set("setresuid", "the user");
    return 0;
}

int renounce_privileges(Failure& failure) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return failure.set("prctl", "PR_SET_NO_NEW_PRIVS");
    return 0;
}

int take_filesystem_ids(const User& user, Failure& failure) {
    if (take_groups(user, failure) < 0) return -1;
    setfsgid(user.gid);
    setfsuid(user.uid);
    return filesystem_ids_are(user.uid, user.gid) ? 0 : failure.set("setfsuid", "the user", EPERM);
}

bool filesystem_ids_are(uid_t uid, gid_t gid) {
    // An impossible id changes nothing and shows what is set.
    return static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1))) == uid &&
           static_cast<gid_t>(setfsgid(static_cast<gid_t>(-1))) == gid;
}

}  // namespace berth

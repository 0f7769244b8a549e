#include "identity.h"

#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

namespace berth::builder {
namespace {

/// setfsuid(2) and setfsgid(2) report no failure: asking with an impossible id shows what is set.
bool filesystem_ids_are(uid_t uid, gid_t gid) {
    return static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1))) == uid &&
           static_cast<gid_t>(setfsgid(static_cast<gid_t>(-1))) == gid;
}

}  // namespace

int die_with_parent(Failure& failure) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return failure.set("prctl", "PR_SET_PDEATHSIG");
    return 0;
}

int become_user(const Spec& spec, Failure& failure) {
    if (setgroups(spec.gids.size(), spec.gids.data()) < 0)
        return failure.set("setgroups", "the user's supplementary groups");
    if (setresgid(spec.gid, spec.gid, spec.gid) < 0) return failure.set("setresgid", "the user's group");
    if (setresuid(spec.uid, spec.uid, spec.uid) < 0) return failure.set("setresuid", "the user");
    return die_with_parent(failure);
}

int keep_building_capabilities(Failure& failure) {
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {};
    for (const int capability : {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_FOWNER,
                                 CAP_FSETID, CAP_DAC_OVERRIDE})
        kept[capability / 32].effective |= 1U << (capability % 32);
    for (__user_cap_data_struct& word : kept) word.permitted = word.effective;
    if (syscall(SYS_capset, &header, kept) < 0) return failure.set("capset", "the builder");
    return 0;
}

LookUpAsUser::LookUpAsUser(const Spec& spec, Failure& failure) {
    if (spec.user_namespace) return;  // the whole process is the user already
    active_ = true;
    if (setgroups(spec.gids.size(), spec.gids.data()) < 0) {
        failed_ = failure.set("setgroups", "the user's supplementary groups") < 0;
        return;
    }
    setfsgid(spec.gid);
    setfsuid(spec.uid);
    if (!filesystem_ids_are(spec.uid, spec.gid)) failed_ = failure.set("setfsuid", "the user", EPERM) < 0;
}

LookUpAsUser::~LookUpAsUser() {
    if (!active_) return;
    setfsuid(0);
    setfsgid(0);
    if (setgroups(0, nullptr) < 0 || !filesystem_ids_are(0, 0)) std::abort();
}

}  // namespace berth::builder

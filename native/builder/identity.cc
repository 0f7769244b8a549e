#include "identity.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "../sys/credentials.h"

namespace berth::builder {

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
    failed_ = take_filesystem_ids({spec.uid, spec.gid, spec.gids}, failure) < 0;
}

LookUpAsUser::~LookUpAsUser() {
    if (!active_) return;
    setfsuid(0);
    setfsgid(0);
    if (setgroups(0, nullptr) < 0 || !filesystem_ids_are(0, 0)) std::abort();
}

}  // namespace berth::builder

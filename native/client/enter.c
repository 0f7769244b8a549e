#include "enter.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int join_failed(const char* call, const char* object, struct berth_failure* failure) {
    return BERTH_FAIL(failure, BERTH_JOIN_FAILED, (berth_host()),
                      (BERTH_TEXT("%s: %s: %s", call, object, strerror(errno))), ());
}

int berth_enter(const struct berth_descriptors* namespaces, const char* cwd, bool* cwd_missing,
                struct berth_failure* failure) {
    const bool user_namespace = namespaces->count == 2;
    if (user_namespace && setns(namespaces->fd[0], CLONE_NEWUSER) < 0)
        return join_failed("setns", "user namespace", failure);
    if (setns(namespaces->fd[user_namespace ? 1 : 0], CLONE_NEWNS) < 0)
        return join_failed("setns", "mount namespace", failure);
    /* setns(2) has moved us to the container's root; never back to a directory of the host. */
    *cwd_missing = cwd == NULL || chdir(cwd) < 0;
    return 0;
}

int berth_drop_bounding_set(struct berth_failure* failure) {
    for (unsigned long capability = 0;; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
        if (errno == EINVAL) return 0; /* past the last that this kernel knows */
        return join_failed("prctl", "PR_CAPBSET_DROP", failure);
    }
}

int berth_drop_privileges(struct berth_failure* failure) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return join_failed("prctl", "PR_SET_NO_NEW_PRIVS", failure);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return join_failed("prctl", "PR_CAP_AMBIENT_CLEAR_ALL", failure);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    if (syscall(SYS_capset, &header, none) < 0) return join_failed("capset", "no capabilities", failure);
    return 0;
}

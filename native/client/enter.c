#include "enter.h"
#include "architecture.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int join_failed(const char* call, const char* object, struct berth_failure* failure) {
    return BERTH_FAIL(failure, BERTH_JOIN_FAILED, (berth_host()),
                      (BERTH_TEXT("%s: %s: %s", call, object, strerror(errno))), ());
}

int berth_descriptors_of(bool user_namespace, const berth_v1_Interior* interior) {
    const uint32_t count = (user_namespace ? 2U : 1U) + interior->unshared;
    return interior->unshared < BERTH_MOST_DESCRIPTORS && count <= BERTH_MOST_DESCRIPTORS ? (int)count : -1;
}

int berth_enter(const struct berth_descriptors* namespaces, const berth_v1_Interior* interior,
                struct berth_failure* failure) {
    const bool user_namespace = namespaces->count == berth_descriptors_of(true, interior);
    const bool complete = user_namespace || namespaces->count == berth_descriptors_of(false, interior);
    /* Root's capabilities may be kept in a user namespace only. */
    if (!complete || (interior->root && !user_namespace)) {
        errno = EBADMSG;
        return join_failed("setns", "the container's namespaces", failure);
    }
    int next = 0;
    if (user_namespace && setns(namespaces->fd[next++], CLONE_NEWUSER) < 0)
        return join_failed("setns", "user namespace", failure);
    if (setns(namespaces->fd[next++], CLONE_NEWNS) < 0)
        return join_failed("setns", "mount namespace", failure);
    for (; next < namespaces->count; next++) {
        if (setns(namespaces->fd[next], 0) < 0)
            return join_failed("setns", "network, IPC or UTS namespace", failure);
    }
    return 0;
}

bool berth_change_directory(const char* directory) {
    return directory != NULL && chdir(directory) == 0;
}

int berth_drop_bounding_set(const berth_v1_Interior* interior, struct berth_failure* failure) {
    if (interior->root) return 0;
    for (unsigned long capability = 0;; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
        if (errno == EINVAL) return 0; /* past the last that this kernel knows */
        return join_failed("prctl", "PR_CAPBSET_DROP", failure);
    }
}

int berth_drop_privileges(const berth_v1_Interior* interior, struct berth_failure* failure) {
    if (interior->root) return interior->pretend ? berth_pretend_root(failure) : 0;
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

int berth_guard_terminal(struct berth_failure* failure) {
    enum {
        TIOCLINUX_REQUEST = 0x541C, /* asm-generic/ioctls.h */
        X32_BIT = 0x40000000,       /* __X32_SYSCALL_BIT, asm/unistd.h of x86 */
    };
    struct sock_filter rules[] = {
        /* Another architecture's system call numbers would slip through: they end the process. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* So would those of x32, which is no other architecture: they have this bit. */
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        /* The kernel takes 32 bits of an ioctl's request: the lower half, first in memory on little-endian.
         */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX_REQUEST, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {.len = sizeof rules / sizeof rules[0], .filter = rules};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return join_failed("prctl", "PR_SET_SECCOMP", failure);
    return 0;
}

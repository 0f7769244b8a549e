/* Root where a single id is mapped. Package managers change owners and identities as a matter of course, and
 * give up when they may not; in such a container nobody could tell the difference anyway, as every file is
 * the user's. So these system calls answer that they have done it. See docs/adr/0016. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "architecture.h"
#include "enter.h"

/* aarch64 has only the newer of some of these. */
static const unsigned pretended[] = {
#ifdef SYS_chown
    SYS_chown,
#endif
#ifdef SYS_lchown
    SYS_lchown,
#endif
    SYS_fchown,    SYS_fchownat,  SYS_setuid,    SYS_setgid,   SYS_setreuid, SYS_setregid,
    SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_setfsuid, SYS_setfsgid, SYS_capset,
};

/* Those that make any kind of file, and which of their arguments says what kind: only device nodes are
 * pretended. */
static const struct {
    unsigned call;
    unsigned mode_argument;
} makers[] = {
#ifdef SYS_mknod
    {SYS_mknod, 1},
#endif
    {SYS_mknodat, 2},
};

enum {
    PRETENDED = sizeof pretended / sizeof pretended[0],
    MAKERS = sizeof makers / sizeof makers[0],
    /* of each kind of call, and of the beginning and the end */
    MOST_RULES = 2 * PRETENDED + 7 * MAKERS + 8,
};

struct program {
    struct sock_filter rules[MOST_RULES];
    unsigned short count;
};

static void add(struct program* program, struct sock_filter rule) {
    program->rules[program->count++] = rule;
}

static void load(struct program* program, size_t offset) {
    add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

/* Skips as many of the next rules as it says where the loaded word is equal, and where it is not. */
static void skip(struct program* program, unsigned value, unsigned char equal, unsigned char other) {
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, equal, other));
}

static void answer(struct program* program, unsigned value) {
    add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value));
}

int berth_pretend_root(struct berth_failure* failure) {
    const unsigned success = SECCOMP_RET_ERRNO | 0;
    struct program program = {.count = 0};
    /* Programs of another architecture have other numbers: for them nothing is pretended, and nothing lost.
     */
    load(&program, offsetof(struct seccomp_data, arch));
    skip(&program, NATIVE_ARCHITECTURE, 1, 0);
    answer(&program, SECCOMP_RET_ALLOW);
    load(&program, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < PRETENDED; i++) {
        skip(&program, pretended[i], 0, 1);
        answer(&program, success);
    }
    for (size_t i = 0; i < MAKERS; i++) {
        skip(&program, makers[i].call, 0, 6);
        /* The lower half of the argument, first in memory on little-endian. */
        load(&program, offsetof(struct seccomp_data, args[makers[i].mode_argument]));
        add(&program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, S_IFMT));
        skip(&program, S_IFCHR, 1, 0);
        skip(&program, S_IFBLK, 0, 1);
        answer(&program, success);
        answer(&program, SECCOMP_RET_ALLOW);
    }
    answer(&program, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {.len = program.count, .filter = program.rules};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
        return BERTH_FAIL(failure, BERTH_JOIN_FAILED, (berth_host()),
                          (BERTH_TEXT("prctl: PR_SET_SECCOMP: %s", strerror(errno))), ());
    return 0;
}

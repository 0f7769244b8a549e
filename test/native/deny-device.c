/* Denies a character device to a cgroup of version 2, as Slurm does there: attaches a program to it that the
 * kernel asks at each access. It goes with the cgroup.
 *
 *   deny-device CGROUP MAJOR MINOR */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(register, offset) \
    { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (register), .src_reg = BPF_REG_1, .off = (offset) }
#define SKIP_UNLESS(register, value, count) \
    { .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (register), .off = (count), .imm = (value) }
#define ANSWER(value) \
    { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = (value) }
#define END \
    { .code = BPF_JMP | BPF_EXIT }

static int fail(const char* what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

int main(int count, char** arguments) {
    if (count != 4) return 2;
    const int major = atoi(arguments[2]);
    const int minor = atoi(arguments[3]);
    const struct bpf_insn program[] = {
        LOAD(BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, major)),
        LOAD(BPF_REG_3, offsetof(struct bpf_cgroup_dev_ctx, minor)),
        ANSWER(1),
        SKIP_UNLESS(BPF_REG_2, major, 2),
        SKIP_UNLESS(BPF_REG_3, minor, 1),
        ANSWER(0),
        END,
    };
    const int cgroup = open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cgroup < 0) return fail(arguments[1]);
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE};
    load.insns = (uint64_t)(uintptr_t)program;
    load.insn_cnt = sizeof program / sizeof program[0];
    load.license = (uint64_t)(uintptr_t) "GPL";
    const int loaded = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    if (loaded < 0) return fail("BPF_PROG_LOAD");
    union bpf_attr attach = {.attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    attach.target_fd = (uint32_t)cgroup;
    attach.attach_bpf_fd = (uint32_t)loaded;
    if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) < 0) return fail("BPF_PROG_ATTACH");
    return 0;
}

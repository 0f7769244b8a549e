// How fast a rank reads the memory of another on its node, by process_vm_readv(2), as MPI does it.
// Usage: read-peer DIRECTORY BYTES
// Two ranks of a step. The second prints MiB per second, the first nothing.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    NOTHING_YET,
    BUFFER_READY,
    ALL_READ,
    // Times are taken over so many reads' worth of it, so many times, and the median counts.
    BATCH_BYTES = 64 * 1024 * 1024,
    BATCHES = 15,
    PATIENCE_SECONDS = 30,
};

// What the ranks have in common: a file, as both are in the same directory, inside as outside.
struct meeting {
    _Atomic uint32_t state;
    pid_t pid;
    uint64_t address;
};

static void fail(const char* what) {
    fprintf(stderr, "read-peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static const char* variable(const char* name) {
    const char* value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "read-peer: %s is not set: start it with srun\n", name);
        exit(2);
    }
    return value;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct meeting* meet(const char* path) {
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1) fail(path);
    if (ftruncate(fd, sizeof(struct meeting)) != 0) fail("ftruncate");
    struct meeting* meeting = mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (meeting == MAP_FAILED) fail("mmap");
    close(fd);
    return meeting;
}

static void reach(struct meeting* meeting, uint32_t state) {
    atomic_store(&meeting->state, state);
    syscall(SYS_futex, &meeting->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

// Sleeps: the processor is the other rank's.
static void await(struct meeting* meeting, uint32_t state) {
    const struct timespec patience = {.tv_sec = PATIENCE_SECONDS};
    for (;;) {
        const uint32_t seen = atomic_load(&meeting->state);
        if (seen == state) return;
        if (syscall(SYS_futex, &meeting->state, FUTEX_WAIT, seen, &patience, NULL, 0) == 0) continue;
        if (errno != EAGAIN && errno != EINTR) fail("waiting for the other rank");
    }
}

static unsigned char* buffer(size_t bytes, int content) {
    unsigned char* memory = NULL;
    errno = posix_memalign((void**)&memory, 4096, bytes);
    if (errno != 0) fail("posix_memalign");
    // Whether there are huge pages would be chance, and another one in each launch. Kernels without them
    // refuse.
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    memset(memory, content, bytes);
    return memory;
}

static int by_size(const void* a, const void* b) {
    const double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

// Bytes per second.
static double read_batch(const struct meeting* peer, unsigned char* target, size_t bytes) {
    const size_t reads = BATCH_BYTES / bytes > 0 ? BATCH_BYTES / bytes : 1;
    const struct iovec here = {.iov_base = target, .iov_len = bytes};
    const struct iovec there = {.iov_base = (void*)(uintptr_t)peer->address, .iov_len = bytes};
    const double begin = now();
    for (size_t i = 0; i < reads; i++) {
        const ssize_t got = process_vm_readv(peer->pid, &here, 1, &there, 1, 0);
        if (got == -1) fail("process_vm_readv");
        if ((size_t)got != bytes) {
            fprintf(stderr, "read-peer: process_vm_readv: %zd bytes instead of %zu\n", got, bytes);
            exit(1);
        }
    }
    return (double)(reads * bytes) / (now() - begin);
}

int main(int argc, char** argv) {
    const size_t bytes = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (bytes == 0 || bytes > BATCH_BYTES) {
        fprintf(stderr, "usage: read-peer DIRECTORY BYTES\n");
        return 2;
    }
    const int rank = atoi(variable("SLURM_PROCID"));
    char path[4096];
    snprintf(path, sizeof path, "%s/peer.%s.%s", argv[1], variable("SLURM_JOB_ID"),
             variable("SLURM_STEP_ID"));
    struct meeting* meeting = meet(path);
    unsigned char* memory = buffer(bytes, rank + 1);
    if (rank == 0) {
        // Without Yama there is nothing to be allowed, and the call fails.
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        meeting->pid = getpid();
        meeting->address = (uintptr_t)memory;
        reach(meeting, BUFFER_READY);
        await(meeting, ALL_READ);
        return 0;
    }
    await(meeting, BUFFER_READY);
    unlink(path);
    double rates[BATCHES];
    for (int i = 0; i < BATCHES; i++) rates[i] = read_batch(meeting, memory, bytes);
    if (memory[0] != 1 || memory[bytes - 1] != 1) {
        fprintf(stderr, "read-peer: what was read is not what the other rank has\n");
        return 1;
    }
    reach(meeting, ALL_READ);
    qsort(rates, BATCHES, sizeof rates[0], by_size);
    printf("%.1f\n", rates[BATCHES / 2] / (1024 * 1024));
    return 0;
}

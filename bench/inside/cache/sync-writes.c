// Small writes that have to be on the disk before the next one: how many a second.
// Usage: sync-writes DIRECTORY overwrite|create MILLISECONDS
//   overwrite   4 KiB with O_DSYNC at random places of a file that is there already
//   create      a file of 4 KiB: made, written, synced, closed, removed
// Each rank has a file of its own, and prints operations per second.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 1024 };

static unsigned char content[BLOCK];

static void fail(const char* what) {
    fprintf(stderr, "sync-writes: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void write_block(int fd, off_t offset) {
    const ssize_t written = pwrite(fd, content, BLOCK, offset);
    if (written == -1) fail("pwrite");
    if (written != BLOCK) {
        fprintf(stderr, "sync-writes: pwrite: %zd bytes instead of %d\n", written, BLOCK);
        exit(1);
    }
}

// Numbers that look random, the same ones every time: Marsaglia's xorshift with 32 bits.
static uint32_t next_number(uint32_t* state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

// Gives operations per second.
static double overwrite(const char* path, double seconds) {
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd == -1) fail(path);
    for (int i = 0; i < BLOCKS; i++) write_block(fd, (off_t)i * BLOCK);
    if (fsync(fd) != 0) fail("fsync");
    const int synced = open(path, O_WRONLY | O_DSYNC | O_CLOEXEC);
    if (synced == -1) fail(path);
    uint32_t state = 1;
    long count = 0;
    const double begin = now();
    double end;
    do {
        write_block(synced, (off_t)(next_number(&state) % BLOCKS) * BLOCK);
        count++;
    } while ((end = now()) - begin < seconds);
    close(synced);
    close(fd);
    if (unlink(path) != 0) fail(path);
    return (double)count / (end - begin);
}

static double create(const char* path, double seconds) {
    long count = 0;
    const double begin = now();
    double end;
    do {
        const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd == -1) fail(path);
        write_block(fd, 0);
        if (fsync(fd) != 0) fail("fsync");
        close(fd);
        if (unlink(path) != 0) fail(path);
        count++;
    } while ((end = now()) - begin < seconds);
    return (double)count / (end - begin);
}

int main(int argc, char** argv) {
    const long milliseconds = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    const char* rank = getenv("SLURM_PROCID");
    if (milliseconds <= 0 || (strcmp(argv[2], "overwrite") != 0 && strcmp(argv[2], "create") != 0)) {
        fprintf(stderr, "usage: sync-writes DIRECTORY overwrite|create MILLISECONDS\n");
        return 2;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/rank.%s", argv[1], rank == NULL ? "0" : rank);
    memset(content, 0x5a, sizeof content);
    const double seconds = (double)milliseconds / 1e3;
    printf("%.1f\n", strcmp(argv[2], "create") == 0 ? create(path, seconds) : overwrite(path, seconds));
    return 0;
}

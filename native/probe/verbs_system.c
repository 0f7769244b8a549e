/* Questions about the kernel, and programs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/loop.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include "../client/enter.h"
#include "probe.h"

int probe_failed(const char* call, const char* object) {
    printf("%s\n%s\n%d\n", call, object, errno);
    return 1;
}

/* adjtimex(2): STATE STATUS MAXIMUM-ERROR-MICROSECONDS ESTIMATED-ERROR-MICROSECONDS */
int probe_clock(void) {
    struct timex clock = {0};
    const int state = adjtimex(&clock);
    if (state < 0) return probe_failed("adjtimex", "clock");
    printf("%d %d %ld %ld\n", state, clock.status, clock.maxerror, clock.esterror);
    return 0;
}

unsigned long long probe_start_time(const char* stat) {
    enum { FIELDS_FROM_STATE = 19 }; /* the state is field 3, the start time field 22 */
    const char* at = strrchr(stat, ')');
    if (at == NULL) return 0;
    at++;
    for (int field = 0; field <= FIELDS_FROM_STATE && at != NULL; field++) {
        at = strchr(at, ' ');
        if (at != NULL) at++;
    }
    return at != NULL ? strtoull(at, NULL, 10) : 0;
}

/* A file of /proc/PID, as text; false when the process is gone. */
static bool read_process_file(int directory, const char* pid, const char* file, char* text, size_t size) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", pid, file);
    const int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t length = read(fd, text, size - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* The number after a name in /proc/PID/status, which begins with a newline; 0 when it is not there. */
static unsigned long long read_field(const char* status, const char* name) {
    const char* line = strstr(status, name);
    return line != NULL ? strtoull(line + strlen(name), NULL, 10) : 0;
}

/* Processes that wait for the kernel and cannot be interrupted: PID START UID SWITCHES COMMAND, a line for
 * each. The user is the real one, as setuid programs wait for what their callers choose. One that is stuck
 * does not go to sleep again: its SWITCHES stay what they are. */
int probe_blocked(void) {
    DIR* directory = opendir("/proc");
    if (directory == NULL) return probe_failed("opendir", "/proc");
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        char stat[1024];
        if (!read_process_file(dirfd(directory), entry->d_name, "stat", stat, sizeof stat)) continue;
        char* name = strchr(stat, '(');
        char* end = strrchr(stat, ')');
        if (name == NULL || end == NULL || strncmp(end, ") D ", 4) != 0) continue;
        char status[4096];
        if (!read_process_file(dirfd(directory), entry->d_name, "status", status, sizeof status)) continue;
        const unsigned long long start = probe_start_time(stat);
        *end = '\0';
        printf("%s %llu %llu %llu %s\n", entry->d_name, start, read_field(status, "\nUid:"),
               read_field(status, "\nvoluntary_ctxt_switches:"), name + 1);
    }
    closedir(directory);
    return 0;
}

/* The number of a loop device that a launch could take now. */
int probe_loop(void) {
    const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return probe_failed("open", "/dev/loop-control");
    const int index = ioctl(control, LOOP_CTL_GET_FREE);
    if (index < 0) return probe_failed("ioctl LOOP_CTL_GET_FREE", "/dev/loop-control");
    char path[32];
    snprintf(path, sizeof path, "/dev/loop%d", index);
    if (open(path, O_RDONLY | O_CLOEXEC) < 0) return probe_failed("open", path);
    printf("%d\n", index);
    return 0;
}

static int become(uid_t uid, gid_t gid) {
    return setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ? -1 : 0;
}

/* UID GID: may this user make the namespaces of a container? */
int probe_user_namespace(probe_words arguments) {
    if (arguments[0] == NULL || arguments[1] == NULL) return 2;
    const uid_t uid = (uid_t)strtoul(arguments[0], NULL, 10);
    const gid_t gid = (gid_t)strtoul(arguments[1], NULL, 10);
    if (become(uid, gid) < 0) return probe_failed("setresuid", arguments[0]);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return probe_failed("unshare", "user namespace");
    return 0;
}

static void give_descriptors(void) {
    const int null = open("/dev/null", O_RDWR);
    if (null >= 0) dup2(null, STDIN_FILENO);
    dup2(STDOUT_FILENO, STDERR_FILENO);
}

/* COUNT NAME=VALUE... PROGRAM ARGUMENT...: a program of the node, with just these COUNT variables. */
int probe_run(probe_words arguments) {
    if (arguments[0] == NULL) return 2;
    unsigned long variables = strtoul(arguments[0], NULL, 10);
    clearenv();
    probe_words word = arguments + 1;
    for (; variables > 0 && *word != NULL; variables--, word++) putenv(*word);
    if (*word == NULL) return 2;
    give_descriptors();
    execvp(word[0], word);
    printf("%s: %s\n", word[0], strerror(errno));
    return 127;
}

/* UID GID PROGRAM: a program in the container whose mount namespace this probe was given, as a rank of this
 * user. A container without a user namespace of its own is owned by ours, and only root may join it. */
int probe_enter(probe_words arguments) {
    if (arguments[0] == NULL || arguments[1] == NULL || arguments[2] == NULL) return 2;
    const uid_t uid = (uid_t)strtoul(arguments[0], NULL, 10);
    const gid_t gid = (gid_t)strtoul(arguments[1], NULL, 10);
    const int owner = ioctl(PROBE_NAMESPACE, NS_GET_USERNS);
    struct stat owners;
    struct stat ours;
    if (owner < 0 || fstat(owner, &owners) < 0 || stat("/proc/self/ns/user", &ours) < 0)
        return probe_failed("ioctl NS_GET_USERNS", "the container");
    const bool user_namespace = owners.st_ino != ours.st_ino;
    const struct berth_descriptors both = {.fd = {owner, PROBE_NAMESPACE}, .count = 2};
    const struct berth_descriptors one = {.fd = {PROBE_NAMESPACE}, .count = 1};
    const berth_v1_Interior plain = berth_v1_Interior_init_zero;
    struct berth_failure failure;
    if (user_namespace && become(uid, gid) < 0) return probe_failed("setresuid", arguments[0]);
    if (berth_enter(user_namespace ? &both : &one, &plain, &failure) < 0 ||
        berth_drop_bounding_set(&plain, &failure) < 0) {
        printf("%s\n", failure.why);
        return 3;
    }
    if (!user_namespace && become(uid, gid) < 0) return probe_failed("setresuid", arguments[0]);
    if (berth_drop_privileges(&plain, &failure) < 0) {
        printf("%s\n", failure.why);
        return 3;
    }
    char* const program[] = {arguments[2], NULL};
    char* const environment[] = {NULL};
    execve(program[0], program, environment);
    return probe_failed("execve", program[0]);
}

int probe_answer(probe_words words) {
    const char* verb = words[0];
    probe_words arguments = words + 1;
    if (strcmp(verb, "clock") == 0) return probe_clock();
    if (strcmp(verb, "blocked") == 0) return probe_blocked();
    if (strcmp(verb, "loop") == 0) return probe_loop();
    if (strcmp(verb, "userns") == 0) return probe_user_namespace(arguments);
    if (strcmp(verb, "run") == 0) return probe_run(arguments);
    if (strcmp(verb, "enter") == 0) return probe_enter(arguments);
    if (strcmp(verb, "cat") == 0) return probe_cat(arguments);
    if (arguments[0] == NULL) return 2;
    if (strcmp(verb, "stat") == 0) return probe_stat(arguments[0]);
    if (strcmp(verb, "real") == 0) return probe_real(arguments[0]);
    if (strcmp(verb, "list") == 0) return probe_list(arguments);
    if (strcmp(verb, "write") == 0) return probe_write(arguments[0]);
    if (strcmp(verb, "slice") == 0 && arguments[1] != NULL && arguments[2] != NULL)
        return probe_slice(arguments[0], arguments[1], arguments[2]);
    return 2;
}

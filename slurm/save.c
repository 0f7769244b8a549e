/* slurmstepd, when the last task of a step has ended on the step's first node: has the container saved
 * (--container-save). Slurm tells srun of that task's end only after this, so what is said here reaches the
 * user's terminal, and srun waits. The step's exit status stays what its tasks have made it. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

enum {
    /* slurmstepd has started all threads of its own so long after it has read the options, in seconds. */
    THREADS_START_S = 5,
    /* A thread that answers a request is gone by then. */
    THREAD_STAYS_MS = 2000,
};

/* Tasks of this node that have ended. */
static uint32_t ended;

/* When the options were read: seconds since boot. */
static double begun;

static double since_boot(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void save_step_begins(void) {
    begun = since_boot();
}

/* When a thread of this process was started, in seconds since boot (proc(5), /proc/PID/stat). 0: unknown. */
static double start_of(const char* thread) {
    char path[64];
    char text[512];
    snprintf(path, sizeof path, "/proc/self/task/%.16s/stat", thread);
    FILE* file = fopen(path, "re");
    if (file == NULL) return 0;
    const size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    const char* field = strrchr(text, ')');
    /* The second ends there; the start is the 22nd. */
    for (int number = 2; field != NULL && number < 22; number++) field = strchr(field + 1, ' ');
    return field == NULL ? 0 : strtod(field, NULL) / (double)sysconf(_SC_CLK_TCK);
}

struct stranger {
    int thread;
    int64_t since_ms;
};

/* Is the step being ended from outside? Slurm tells plugins nothing of it, but from then on slurmstepd counts
 * down UnkillableStepTimeout, after which it drains the node, in a thread of its own (Slurm 22.05 to 25.11,
 * step_terminate_monitor.c): one that is younger than its others, and stays. */
static bool is_being_ended(struct stranger* stranger) {
    DIR* threads = opendir("/proc/self/task");
    if (threads == NULL) return false;
    int found = 0;
    bool is_there = false;
    for (const struct dirent* entry = readdir(threads); entry != NULL; entry = readdir(threads)) {
        const int thread = (int)strtol(entry->d_name, NULL, 10);
        if (thread <= 0 || start_of(entry->d_name) < begun + THREADS_START_S) continue;
        found = thread;
        is_there = is_there || thread == stranger->thread;
    }
    closedir(threads);
    if (!is_there) *stranger = (struct stranger){.thread = found, .since_ms = berth_now_ms()};
    return is_there && berth_now_ms() - stranger->since_ms > THREAD_STAYS_MS;
}

/* Killed: by a user who wants no more of it, or because it has used up its time or memory. */
static bool was_killed(spank_t spank) {
    int status = 0;
    return spank_get_item(spank, S_TASK_EXIT_STATUS, &status) == ESPANK_SUCCESS && WIFSIGNALED(status) &&
           (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
}

bool save_is_wanted(spank_t spank) {
    uint32_t node = 0;
    return lines_have(&plugin.options, SLOT_SAVE) && plugin.fault == NULL &&
           spank_get_item(spank, S_JOB_NODEID, &node) == ESPANK_SUCCESS && node == 0;
}

static const char* value_of_option(void) {
    static char path[4096];
    struct option_line line;
    if (lines_find(&plugin.options, SLOT_SAVE, &line)) line_value(&line, path, sizeof path);
    return path;
}

/* berthd says every second that it is at it, and every few seconds in words. */
static int save(spank_t spank, struct berth_failure* failure) {
    static berth_v1_Reply reply;
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_save_tag;
    request.body.save.has_launch = true;
    struct berth_groups groups;
    if (step_describe(spank, &request.body.save.launch, &groups) < 0)
        return BERTH_FAIL(failure, BERTH_SAVE, (value_of_option(), berth_host()),
                          ("Slurm does not describe the step"), ());
    struct stranger stranger = {0};
    BERTH_FD connection = berth_connect(plugin.socket, plugin.wait_ms, failure);
    if (connection < 0 || berth_send(connection, &request, failure) < 0) return -1;
    do {
        BERTH_DESCRIPTORS none = {.count = 0};
        if (berth_receive(connection, plugin.timeout_ms, &reply, &none, NULL, failure) < 0) return -1;
        /* berthd sees that nobody waits any more, and leaves nothing. */
        if (is_being_ended(&stranger))
            return BERTH_FAIL(failure, BERTH_SAVE, (value_of_option(), berth_host()),
                              ("the step was ended meanwhile"), ());
        if (reply.which_body == berth_v1_Reply_launch_progress_tag &&
            reply.body.launch_progress.text[0] != '\0')
            slurm_spank_log("berth: %s", reply.body.launch_progress.text);
    } while (reply.which_body == berth_v1_Reply_launch_progress_tag);
    if (reply.which_body != berth_v1_Reply_save_tag)
        return BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), ("the reply is not about what was saved"), ());
    slurm_spank_log("berth: the container is saved as %s (%s bytes)", reply.body.save.path,
                    reply.body.save.size);
    return 0;
}

void save_task_exit(spank_t spank) {
    uint32_t count = 0;
    if (!save_is_wanted(spank)) return;
    if (spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &count) != ESPANK_SUCCESS || ++ended < count) return;
    struct berth_failure failure;
    if (was_killed(spank))
        BERTH_FAIL(&failure, BERTH_SAVE, (value_of_option(), berth_host()),
                   ("its last task was killed, as by scancel or a time limit"), ());
    else if (save(spank, &failure) == 0)
        return;
    /* The ranks, which were not started for that, have told the user. */
    if (early.failed && strcmp(early.failure.code, "BERTH_SAVE_TARGET") == 0) return;
    slurm_spank_log("berth: %s: %s", failure.code, failure.what);
    slurm_spank_log("berth:   why: %s", failure.why);
    slurm_spank_log("berth:   hint: %s", failure.hint);
}

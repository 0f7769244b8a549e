/* A rank, between fork and exec: single-threaded, first as root (privileged), then as the user. Here alone
 * may a launch fail: Slurm ends the task with status 1 and drains nothing. */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "../native/client/enter.h"
#include "../native/client/environment.h"
#include "berth_plugin.h"
#include "waiting.h"

static struct {
    struct berth_descriptors namespaces;
    berth_v1_LaunchReply reply;
    /* Where this rank's descriptors came from: slurmstepd's connection, or its own. */
    int connection;
    bool entered;
    char cwd[4096];
    uint32_t wait_us;
    uint32_t join_us;
    /* Why this rank cannot run; shared by all ranks of the node? */
    bool failed;
    bool shared;
    struct berth_failure failure;
} task = {.connection = -1};

static int local_rank(spank_t spank) {
    int rank = 0;
    return spank_get_item(spank, S_TASK_ID, &rank) == ESPANK_SUCCESS ? rank : 0;
}

/* Keeps a failure for task_init. */
static int fail(const struct berth_failure* failure, bool shared) {
    task.failed = true;
    task.shared = shared;
    task.failure = *failure;
    return 0;
}

/* The rank ends here, with status 1, as if its program had: so Slurm adds no lines of its own for each rank
 * to those that tell the user what to do, and the program cannot start outside the container even where an
 * administrator made this plugin `optional`. One rank of a node speaks for those that share its failure. */
static _Noreturn void give_up(spank_t spank) {
    const struct berth_failure* failure = &task.failure;
    const int rank = local_rank(spank);
    if (rank == 0 || !task.shared) slurm_error("berth: %s: %s", failure->code, failure->what);
    if (rank == 0) {
        slurm_error("berth:   why: %s", failure->why);
        slurm_error("berth:   hint: %s", failure->hint);
    }
    _exit(1);
}

/* Says how the pull of an image is going: one rank for all, on all nodes. */
static void tell_progress(spank_t spank, const char* text) {
    uint32_t rank = 0;
    const bool speaks = spank_get_item(spank, S_TASK_GLOBAL_ID, &rank) == ESPANK_SUCCESS && rank == 0;
    if (speaks && text[0] != '\0') slurm_spank_log("berth: %s", text);
}

/* The container, as long as berthd takes to get its image: as long as it says that it is at that. */
static int await_container(spank_t spank, int connection, berth_v1_Reply* reply, bool* timed_out,
                           struct berth_failure* failure) {
    do {
        if (berth_receive(connection, plugin.timeout_ms, reply, &task.namespaces, timed_out, failure) < 0)
            return -1;
        if (reply->which_body == berth_v1_Reply_launch_progress_tag)
            tell_progress(spank, reply->body.launch_progress.text);
    } while (reply->which_body == berth_v1_Reply_launch_progress_tag);
    return 0;
}

/* Asks until `deadline`: a daemon that is killed over a request comes back and is asked again. */
static int ask(spank_t spank, struct berth_failure* failure) {
    static berth_v1_Reply reply;
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_launch_tag;
    struct berth_groups groups;
    if (step_describe(spank, &request.body.launch, &groups) < 0)
        return BERTH_FAIL(failure, BERTH_JOIN_FAILED, (berth_host()), ("Slurm does not describe the step"),
                          ());
    request.body.launch.purpose = berth_v1_Purpose_PURPOSE_RANK;
    request.body.launch.local_rank = (uint32_t)local_rank(spank);
    const int64_t patience_ends = berth_now_ms() + plugin.wait_ms;
    WAITING waiting;
    begin_waiting(&waiting);
    for (;;) {
        const int64_t patience = patience_ends - berth_now_ms();
        BERTH_FD connection = berth_connect(plugin.socket, patience > 0 ? (int)patience : 0, failure);
        if (connection < 0) return -1;
        bool timed_out = false;
        if (berth_send(connection, &request, failure) == 0 &&
            await_container(spank, connection, &reply, &timed_out, failure) == 0) {
            task.connection = berth_take(&connection);
            break;
        }
        berth_close_descriptors(&task.namespaces);
        const bool gone = strcmp(failure->code, "BERTH_DAEMON_UNREACHABLE") == 0;
        if (!gone || timed_out || berth_now_ms() >= patience_ends) return -1;
    }
    if (reply.which_body != berth_v1_Reply_launch_tag ||
        task.namespaces.count !=
            berth_descriptors_of(reply.body.launch.user_namespace, &reply.body.launch.interior))
        return BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), ("the reply lacks the container's namespaces"),
                          ());
    task.reply = reply.body.launch;
    return 0;
}

static int enter(void) {
    const int64_t start = berth_now_us();
    struct berth_failure failure;
    if (getcwd(task.cwd, sizeof task.cwd) == NULL) task.cwd[0] = '\0';
    if (berth_enter(&task.namespaces, &task.reply.interior, &failure) < 0) return fail(&failure, false);
    berth_close_descriptors(&task.namespaces);
    if (berth_drop_bounding_set(&task.reply.interior, &failure) < 0) return fail(&failure, false);
    task.entered = true;
    task.join_us = (uint32_t)(berth_now_us() - start);
    return 0;
}

/* Without a user namespace this process is still root when it has joined, so the directory is looked up with
 * the user's rights. Slurm (22.05, exec_task) goes to the job's directory itself after that, as the user. */
static void change_directory_as_user(spank_t spank) {
    uid_t uid = 0;
    gid_t gid = 0;
    gid_t* gids = NULL;
    int count = 0;
    static gid_t own[NGROUPS_MAX];
    const int own_count = getgroups(NGROUPS_MAX, own);
    if (own_count < 0 || spank_get_item(spank, S_JOB_UID, &uid) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_GID, &gid) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_SUPPLEMENTARY_GIDS, &gids, &count) != ESPANK_SUCCESS ||
        setgroups((size_t)count, gids) < 0)
        return;
    setfsgid(gid);
    setfsuid(uid);
    /* setfsuid(2) tells of no failure; an impossible id changes nothing and shows what is set. */
    if ((uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid)
        berth_change_directory(task.cwd);
    setfsuid(0);
    setfsgid(0);
    if (setgroups((size_t)own_count, own) < 0) _exit(1);
}

int task_init_privileged(spank_t spank) {
    const int64_t start = berth_now_us();
    struct berth_failure failure;
    if (plugin.fault != NULL) {
        forward_explain(plugin.fault, &failure);
        return fail(&failure, true);
    }
    /* With a job_container or namespace plugin the ranks are in the job's own mount namespace, where
     * slurmstepd is not: then what it was given was built around other directories. */
    const uint32_t origin = early.failed ? early.step_mntns : early.reply.origin_mntns;
    const bool inherited = early.known && own_mount_namespace() == origin;
    if (inherited && early.failed) return fail(&early.failure, true);
    if (inherited) {
        task.namespaces = early.namespaces;
        early.namespaces.count = 0;
        task.connection = step_connection;
        task.reply = early.reply;
    } else if (ask(spank, &failure) < 0) {
        return fail(&failure, false);
    }
    task.wait_us = (uint32_t)(berth_now_us() - start);
    /* Without a user namespace only root may join; with one, only the user is to. */
    if (task.reply.user_namespace) return 0;
    enter();
    if (task.entered) change_directory_as_user(spank);
    return 0;
}

/* Tells berthd how long this rank took. Best effort: nobody waits for it. */
static void report_joined(spank_t spank) {
    if (task.connection < 0) return;
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_rank_joined_tag;
    spank_get_item(spank, S_TASK_GLOBAL_ID, &request.body.rank_joined.rank);
    request.body.rank_joined.wait_us = task.wait_us;
    request.body.rank_joined.join_us = task.join_us;
    berth_send_unless_full(task.connection, &request);
}

static bool change_directory(const char* directory) {
    return directory[0] != '\0' && berth_change_directory(directory);
}

/* Where the program starts: where the user said, or where it would without a container, or where the image
 * says. */
static int choose_directory(spank_t spank, struct berth_failure* failure) {
    const berth_v1_Interior* interior = &task.reply.interior;
    if (change_directory(interior->workdir)) return 0;
    if (interior->workdir[0] != '\0' && interior->workdir_needed)
        return BERTH_FAIL(failure, BERTH_WORKDIR, (interior->workdir),
                          (BERTH_TEXT("chdir: %s", strerror(errno))), ());
    /* Without a user namespace Slurm has changed to it in here already, as the user. */
    if (!task.reply.user_namespace) return 0;
    if (change_directory(task.cwd) || change_directory(interior->fallback_workdir)) return 0;
    change_directory("/");
    if (local_rank(spank) == 0)
        slurm_error("berth: the container has no directory %s, or you may not enter it: starting in /",
                    task.cwd[0] != '\0' ? task.cwd : "like the current one");
    return 0;
}

/* The environment that Slurm will give the program. */
static const char* get_variable(void* spank, const char* name) {
    /* execve(2), MAX_ARG_STRLEN: longer is no variable. */
    static char value[128 * 1024];
    return spank_getenv(spank, name, value, sizeof value) == ESPANK_SUCCESS ? value : NULL;
}

static int set_variable(void* spank, const char* name, const char* value) {
    if (spank_setenv(spank, name, value, 1) == ESPANK_SUCCESS) return 0;
    errno = ENOMEM;
    return -1;
}

static int unset_variable(void* spank, const char* name) {
    spank_unsetenv(spank, name);
    return 0;
}

static int change_environment(spank_t spank, struct berth_failure* failure) {
    const struct berth_variables variables = {
        .context = spank, .get = get_variable, .set = set_variable, .unset = unset_variable};
    /* Came with the reply: this rank's own, or the one that slurmstepd had before it forked. */
    const struct berth_environment changes = berth_received_environment();
    if (berth_apply_environment(&changes, &variables, failure) < 0) return -1;
    berth_note_directory(&variables);
    set_variable(spank, "BERTH_CONTAINER", task.reply.container_id);
    set_variable(spank, "BERTH_IMAGE", task.reply.image);
    set_variable(spank, "BERTH_IMAGE_DIGEST", task.reply.digest);
    return 0;
}

static int run_entrypoint(spank_t spank, struct berth_failure* failure) {
    const berth_v1_Interior* interior = &task.reply.interior;
    return interior->entrypoint ? entrypoint_run(spank, interior->entrypoint_log, failure) : 0;
}

int task_init(spank_t spank) {
    const int64_t start = berth_now_us();
    if (!task.failed && !task.entered) enter();
    struct berth_failure failure;
    if (!task.failed &&
        (berth_drop_privileges(&task.reply.interior, &failure) < 0 || choose_directory(spank, &failure) < 0 ||
         change_environment(spank, &failure) < 0 || run_entrypoint(spank, &failure) < 0))
        fail(&failure, false);
    if (task.failed) give_up(spank);
    if (task.reply.user_namespace) task.join_us = (uint32_t)(berth_now_us() - start);
    report_joined(spank);
    return 0;
}

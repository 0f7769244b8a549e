/* slurmstepd, before it forks the ranks. It asks berthd once for all of them, so that a step of a thousand
 * ranks costs one request, and so that a container that has to be built is built while slurmstepd still
 * prepares. Nothing here can fail a launch: ranks that inherit no answer ask for themselves (docs/adr/0004).
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "berth_plugin.h"

enum {
    /* slurmstepd waits no longer than this for the early answer; a container takes about 5 ms to build. */
    EARLY_WAIT_MS = 100,
    MOST_DESCRIPTORS_SEARCHED = 256,
};

struct early_answer early;
int step_connection = -1;

uint32_t own_mount_namespace(void) {
    struct stat status;
    return stat("/proc/self/ns/mnt", &status) < 0 ? 0 : (uint32_t)status.st_ino;
}

struct step_place {
    char spool_dir[sizeof((berth_v1_LaunchRequest*)0)->spool_dir];
    char node_name[sizeof((berth_v1_LaunchRequest*)0)->node_name];
};

/* SlurmdSpoolDir holds PMIx's sockets, so the container needs it, but Slurm tells plugins nothing of it.
 * slurmstepd listens on SPOOLDIR/NODE_JOB.STEP, though (Slurm 22.05 to 25.11, stepd_api.c), on a descriptor
 * of this process. That has the node's name too, by which berthd asks Slurm about this node; the step's
 * environment has it only as the user likes. */
static void find_place(uint32_t job, uint32_t step, struct step_place* place) {
    char suffix[32];
    snprintf(suffix, sizeof suffix, "_%u.%u", job, step);
    for (int fd = 3; fd < MOST_DESCRIPTORS_SEARCHED; fd++) {
        struct sockaddr_un address;
        socklen_t length = sizeof address - 1;
        memset(&address, 0, sizeof address);
        if (getsockname(fd, (struct sockaddr*)&address, &length) < 0 || address.sun_family != AF_UNIX)
            continue;
        const size_t end = strlen(address.sun_path);
        if (end < strlen(suffix) || address.sun_path[0] != '/') continue;
        /* het steps put a component behind the step: NODE_JOB.STEP.COMPONENT */
        const char* name = strrchr(address.sun_path, '/');
        const char* node_ends = strstr(name, suffix);
        if (node_ends == NULL) continue;
        const size_t directory = (size_t)(name - address.sun_path);
        const size_t node = (size_t)(node_ends - name) - 1;
        if (directory == 0 || directory >= sizeof place->spool_dir || node >= sizeof place->node_name) return;
        memcpy(place->spool_dir, address.sun_path, directory);
        memcpy(place->node_name, name + 1, node);
        return;
    }
}

int step_describe(spank_t spank, berth_v1_LaunchRequest* launch, struct berth_groups* groups) {
    static struct step_place place;
    *launch = (berth_v1_LaunchRequest)berth_v1_LaunchRequest_init_zero;
    uid_t uid = 0;
    gid_t gid = 0;
    gid_t* gids = NULL;
    int count = 0;
    if (spank_get_item(spank, S_JOB_ID, &launch->job_id) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_UID, &uid) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_GID, &gid) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_SUPPLEMENTARY_GIDS, &gids, &count) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_STEPID, &launch->step_id) != ESPANK_SUCCESS)
        return -1;
    launch->uid = uid;
    launch->gid = gid;
    groups->gids = gids;
    groups->count = (size_t)count;
    berth_request_groups(launch, groups);
    spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &launch->node_tasks);
    launch->saves = save_is_wanted(spank);
    pin_of_step(spank, launch->image, sizeof launch->image);
    forward_request(&launch->options);
    if (place.spool_dir[0] == '\0') find_place(launch->job_id, launch->step_id, &place);
    snprintf(launch->node_name, sizeof launch->node_name, "%s",
             place.node_name[0] != '\0' ? place.node_name : berth_host());
    memcpy(launch->spool_dir, place.spool_dir, sizeof place.spool_dir);
    return 0;
}

void step_ask_early(spank_t spank) {
    if (plugin.fault != NULL) return;
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_launch_tag;
    struct berth_groups groups;
    if (step_describe(spank, &request.body.launch, &groups) < 0) return;
    request.body.launch.purpose = berth_v1_Purpose_PURPOSE_STEP;
    struct berth_failure ignored;
    early.step_mntns = own_mount_namespace();
    step_connection = berth_connect(plugin.socket, 0, &ignored);
    if (step_connection >= 0 && berth_send(step_connection, &request, &ignored) < 0)
        berth_close(&step_connection);
}

void step_await_answer(void) {
    if (step_connection < 0) return;
    static berth_v1_Reply reply;
    bool timed_out = false;
    struct berth_failure failure;
    const int received =
        berth_receive(step_connection, EARLY_WAIT_MS, &reply, &early.namespaces, &timed_out, &failure);
    if (timed_out) return;
    if (received == 0 && reply.which_body == berth_v1_Reply_launch_tag && early.namespaces.count > 0) {
        early.known = true;
        early.reply = reply.body.launch;
        return;
    }
    berth_close_descriptors(&early.namespaces);
    /* A daemon that went away may be back when the ranks ask; what it decided, it would decide again. */
    early.known = received < 0 && strcmp(failure.code, "BERTH_DAEMON_UNREACHABLE") != 0;
    early.failed = early.known;
    early.failure = failure;
    berth_close(&step_connection);
}

void step_close(void) {
    berth_close_descriptors(&early.namespaces);
    berth_close(&step_connection);
}

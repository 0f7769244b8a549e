/* Prolog and epilog: processes of their own on every node of the job, as root. A failure here would drain the
 * node, so both always succeed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

enum { PREPARE_TIMEOUT_MS = 20000, END_TIMEOUT_MS = 10000, END_PATIENCE_MS = 500 };

static int send_and_wait(berth_v1_Request* request, int patience_ms, int timeout_ms,
                         struct berth_failure* failure) {
    static berth_v1_Reply reply;
    BERTH_FD connection = berth_connect(plugin.socket, patience_ms, failure);
    if (connection < 0) return -1;
    BERTH_DESCRIPTORS none = {.count = 0};
    if (berth_send(connection, request, failure) < 0) return -1;
    /* A site that gives ranks less time does not want a hanging berthd to hold up whole jobs for longer. */
    const int limit_ms = plugin.timeout_ms < timeout_ms ? plugin.timeout_ms : timeout_ms;
    return berth_receive(connection, limit_ms, &reply, &none, NULL, failure);
}

int job_prolog(spank_t spank) {
    forward_receive_prolog(spank);
    if (!plugin.has_container) return 0;
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_launch_tag;
    berth_v1_LaunchRequest* launch = &request.body.launch;
    launch->purpose = berth_v1_Purpose_PURPOSE_PREPARE;
    uid_t uid = 0;
    if (spank_get_item(spank, S_JOB_ID, &launch->job_id) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_UID, &uid) != ESPANK_SUCCESS)
        return 0;
    launch->uid = uid;
    pin_of_prolog(launch->image, sizeof launch->image);
    forward_request(&launch->options);
    snprintf(launch->node_name, sizeof launch->node_name, "%s", berth_host());
    struct berth_failure failure;
    if (send_and_wait(&request, 0, PREPARE_TIMEOUT_MS, &failure) < 0)
        slurm_info("berth: %s: %s: %s (the job's first step will report it)", failure.code, failure.what,
                   failure.why);
    return 0;
}

/* For a berthd that is not there: it looks here when it starts. */
static void leave_note(uint32_t job) {
    char path[160];
    const char* slash = strrchr(plugin.socket, '/');
    const int directory = slash != NULL ? (int)(slash - plugin.socket) : 0;
    snprintf(path, sizeof path, "%.*s/ended", directory, plugin.socket);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        slurm_error("berth: mkdir %s: %s: the containers of job %u stay until berthd asks Slurm about it",
                    path, strerror(errno), job);
        return;
    }
    snprintf(path, sizeof path, "%.*s/ended/%u", directory, plugin.socket, job);
    BERTH_FD note = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (note < 0) slurm_error("berth: open %s: %s", path, strerror(errno));
}

int job_epilog(spank_t spank) {
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_job_end_tag;
    uint32_t* job = &request.body.job_end.job_id;
    if (spank_get_item(spank, S_JOB_ID, job) != ESPANK_SUCCESS) return 0;
    struct berth_failure failure;
    if (send_and_wait(&request, END_PATIENCE_MS, END_TIMEOUT_MS, &failure) < 0) {
        slurm_info("berth: %s: %s: %s", failure.code, failure.what, failure.why);
        leave_note(*job);
    }
    return 0;
}

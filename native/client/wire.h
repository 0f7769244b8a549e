/* The client's end of berthd's socket, for the plugin and the command line: proto/berth.proto in C. */
#pragma once

#include <sys/types.h>

#include "berth.pb.h"
#include "environment.h"
#include "failure.h"

#define BERTH_SOCKET "/run/berth/berthd.sock"

/* A launch is answered with at most these descriptors: user and mount namespace, and those of network, IPC
 * and host name where the container has its own; one is to spare. */
#define BERTH_MOST_DESCRIPTORS 6

/* Longest reply, in bytes: a LaunchReply has the container's environment. The memory is static, and taken
 * only as far as it is used. */
#define BERTH_MOST_REPLY (256 * 1024)

struct berth_descriptors {
    int fd[BERTH_MOST_DESCRIPTORS];
    int count;
};

/* Supplementary groups to be sent with a LaunchRequest. */
struct berth_groups {
    const gid_t* gids;
    size_t count;
};

/* Closes a descriptor and marks it closed; what __attribute__((cleanup)) calls. */
void berth_close(int* fd);
/* Hands a descriptor on: the variable no longer closes it. */
static inline int berth_take(int* fd) {
    const int taken = *fd;
    *fd = -1;
    return taken;
}
void berth_close_descriptors(struct berth_descriptors* descriptors);

#define BERTH_FD __attribute__((cleanup(berth_close))) int
#define BERTH_DESCRIPTORS __attribute__((cleanup(berth_close_descriptors))) struct berth_descriptors

/* Connects to berthd. Tries again for `patience_ms` milliseconds while nobody listens, as while berthd
 * restarts. Returns the descriptor, or -1 with BERTH_DAEMON_UNREACHABLE. */
int berth_connect(const char* path, int patience_ms, struct berth_failure* failure);

/* Makes LaunchRequest.gids be encoded from `groups`, which must outlive the request. */
void berth_request_groups(berth_v1_LaunchRequest* launch, const struct berth_groups* groups);

/* Options of a container, to be sent with a request: each as the user wrote it. */
struct berth_option {
    const char* name;  /* as on srun's command line, without the dashes */
    const char* value; /* "" for an option without a value */
};
struct berth_options {
    const struct berth_option* list;
    size_t count;
};

/* Makes `field`, which is LaunchRequest.options, ResolveRequest.options or RunRequest.options, be encoded
 * from `options`, which must outlive the request. */
void berth_request_options(pb_callback_t* field, const struct berth_options* options);

/* Sends one request; fills in protocol and version. 0, or -1 with a failure. */
int berth_send(int fd, berth_v1_Request* request, struct berth_failure* failure);

/* Sends a small request that is not answered, or drops it when berthd does not keep up: nobody may have to
 * wait for a daemon that hangs. */
void berth_send_unless_full(int fd, berth_v1_Request* request);

/* Waits at most `timeout_ms` for one reply. 0, or -1 with a failure, which may be the one that berthd sent.
 * The environment of its Interior is what berth_received_environment gives until the next call.
 * `*timed_out`, where not NULL, tells that nothing had arrived yet: then the call may be made again. */
int berth_receive(int fd, int timeout_ms, berth_v1_Reply* reply, struct berth_descriptors* descriptors,
                  bool* timed_out, struct berth_failure* failure);

/* Milliseconds of a clock that never jumps; microseconds. */
int64_t berth_now_ms(void);
int64_t berth_now_us(void);

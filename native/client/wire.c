#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pb_decode.h>
#include <pb_encode.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER = 4,
    /* src/protocol/frames.ts REQUEST_LIMIT */
    MOST_REQUEST = 64 * 1024,
    RETRY_MS = 50,
};

void berth_close(int* fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

void berth_close_descriptors(struct berth_descriptors* descriptors) {
    for (int i = 0; i < descriptors->count; i++) berth_close(&descriptors->fd[i]);
    descriptors->count = 0;
}

int64_t berth_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t berth_now_ms(void) {
    return berth_now_us() / 1000;
}

static int unreachable(const char* path, const char* call, const char* reason,
                       struct berth_failure* failure) {
    return BERTH_FAIL(failure, BERTH_DAEMON_UNREACHABLE, (path, berth_host()),
                      (BERTH_TEXT("%s: %s", call, reason)), ());
}

static int lost_step(const char* why, struct berth_failure* failure) {
    return BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), (why), ());
}

/* What listens there has to be root's: nobody else may hand descriptors to slurmstepd, or to a user's
 * command. */
static int check_listener(int fd, const char* path, struct berth_failure* failure) {
    struct ucred listener = {0};
    socklen_t length = sizeof listener;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &length) < 0)
        return unreachable(path, "getsockopt SO_PEERCRED", strerror(errno), failure);
    if (listener.uid == 0) return 0;
    return unreachable(path, "getsockopt SO_PEERCRED", "what listens there does not belong to root", failure);
}

int berth_connect(const char* path, int patience_ms, struct berth_failure* failure) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return unreachable(path, "connect", strerror(ENAMETOOLONG), failure);
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int64_t give_up = berth_now_ms() + patience_ms;
    for (;;) {
        BERTH_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return unreachable(path, "socket", strerror(errno), failure);
        /* connect(2) waits for a daemon that does not accept, without this for ever; so does send(2). */
        const struct timeval limit = {.tv_sec = patience_ms / 1000 + 1};
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
            return unreachable(path, "setsockopt SO_SNDTIMEO", strerror(errno), failure);
        if (connect(fd, (struct sockaddr*)&address, sizeof address) == 0) {
            if (check_listener(fd, path, failure) < 0) return -1;
            return berth_take(&fd);
        }
        const int error = errno;
        const bool absent = error == ECONNREFUSED || error == ENOENT || error == EAGAIN;
        if (!absent || berth_now_ms() >= give_up)
            return unreachable(path, "connect", strerror(error), failure);
        poll(NULL, 0, RETRY_MS);
    }
}

static bool encode_groups(pb_ostream_t* stream, const pb_field_t* field, void* const* argument) {
    const struct berth_groups* groups = *argument;
    for (size_t i = 0; i < groups->count; i++) {
        if (!pb_encode_tag_for_field(stream, field) || !pb_encode_varint(stream, groups->gids[i]))
            return false;
    }
    return true;
}

void berth_request_groups(berth_v1_LaunchRequest* launch, const struct berth_groups* groups) {
    launch->gids.funcs.encode = encode_groups;
    launch->gids.arg = (void*)groups;
}

static bool encode_text(pb_ostream_t* stream, const pb_field_t* field, void* const* argument) {
    const char* text = *argument;
    return text[0] == '\0' || (pb_encode_tag_for_field(stream, field) &&
                               pb_encode_string(stream, (const pb_byte_t*)text, strlen(text)));
}

static bool encode_options(pb_ostream_t* stream, const pb_field_t* field, void* const* argument) {
    const struct berth_options* options = *argument;
    for (size_t i = 0; i < options->count; i++) {
        berth_v1_Option option = berth_v1_Option_init_zero;
        option.name = (pb_callback_t){.funcs.encode = encode_text, .arg = (void*)options->list[i].name};
        option.value = (pb_callback_t){.funcs.encode = encode_text, .arg = (void*)options->list[i].value};
        if (!pb_encode_tag_for_field(stream, field) ||
            !pb_encode_submessage(stream, berth_v1_Option_fields, &option))
            return false;
    }
    return true;
}

void berth_request_options(pb_callback_t* field, const struct berth_options* options) {
    field->funcs.encode = encode_options;
    field->arg = (void*)options;
}

/* The frame of a request, in a buffer that the next call uses again. The length, or -1 with a failure. */
static ssize_t frame_request(berth_v1_Request* request, const uint8_t** frame,
                             struct berth_failure* failure) {
    static uint8_t bytes[HEADER + MOST_REQUEST];
    request->protocol = berth_v1_Protocol_PROTOCOL_CURRENT;
    snprintf(request->version, sizeof request->version, "%s", BERTH_VERSION);
    pb_ostream_t stream = pb_ostream_from_buffer(bytes + HEADER, MOST_REQUEST);
    if (!pb_encode(&stream, berth_v1_Request_fields, request))
        return lost_step(PB_GET_ERROR(&stream), failure);
    const uint32_t length = htonl((uint32_t)stream.bytes_written);
    memcpy(bytes, &length, HEADER);
    *frame = bytes;
    return (ssize_t)(HEADER + stream.bytes_written);
}

void berth_send_unless_full(int fd, berth_v1_Request* request) {
    struct berth_failure ignored;
    const uint8_t* bytes = NULL;
    const ssize_t length = frame_request(request, &bytes, &ignored);
    if (length > 0) (void)!send(fd, bytes, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int berth_send(int fd, berth_v1_Request* request, struct berth_failure* failure) {
    const uint8_t* at = NULL;
    ssize_t left = frame_request(request, &at, failure);
    if (left < 0) return -1;
    while (left > 0) {
        const ssize_t sent = send(fd, at, (size_t)left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return unreachable("its socket", "send", strerror(errno), failure);
        at += sent;
        left -= sent;
    }
    return 0;
}

/* What recvmsg(2) brought beside the bytes. More descriptors than expected are closed, not leaked. */
static void keep_descriptors(struct msghdr* message, struct berth_descriptors* descriptors) {
    for (struct cmsghdr* header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (descriptors != NULL && descriptors->count < BERTH_MOST_DESCRIPTORS) {
                descriptors->fd[descriptors->count++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

/* Reads exactly `length` bytes before `deadline`. */
static int receive_whole(int fd, uint8_t* bytes, size_t length, int64_t deadline, bool* timed_out,
                         struct berth_descriptors* descriptors, struct berth_failure* failure) {
    size_t have = 0;
    while (have < length) {
        const int64_t left = deadline - berth_now_ms();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        const int polled = poll(&ready, 1, left > 0 ? (int)left : 0);
        if (polled < 0 && errno == EINTR) continue;
        if (polled == 0) {
            if (timed_out != NULL) *timed_out = have == 0;
            return unreachable("its socket", "poll", "no answer in time", failure);
        }
        union {
            char space[CMSG_SPACE(sizeof(int) * BERTH_MOST_DESCRIPTORS)];
            struct cmsghdr align;
        } control;
        struct iovec part = {.iov_base = bytes + have, .iov_len = length - have};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        const ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return unreachable("its socket", "recvmsg", strerror(errno), failure);
        if (got == 0) return unreachable("its socket", "recvmsg", "berthd closed the connection", failure);
        keep_descriptors(&message, descriptors);
        have += (size_t)got;
    }
    return 0;
}

static int keep_error(const berth_v1_Error* error, struct berth_failure* failure) {
    berth_failure_begin(failure, error->code, error->exit_status);
    berth_failure_say(failure->what, sizeof failure->what, "%s", error->what);
    berth_failure_say(failure->why, sizeof failure->why, "%s", error->why);
    berth_failure_say(failure->hint, sizeof failure->hint, "%s", error->hint);
    return -1;
}

/* What has a container's Interior gets somewhere to put its environment. nanopb empties a body when it
 * finds out which one it is, and calls this after that. */
static bool prepare_body(pb_istream_t* stream, const pb_field_t* field, void** argument) {
    (void)stream;
    (void)argument;
    if (field->tag == berth_v1_Reply_launch_tag)
        berth_expect_environment(&((berth_v1_LaunchReply*)field->pData)->interior.environment);
    if (field->tag == berth_v1_Reply_exec_tag)
        berth_expect_environment(&((berth_v1_ExecReply*)field->pData)->interior.environment);
    return true;
}

int berth_receive(int fd, int timeout_ms, berth_v1_Reply* reply, struct berth_descriptors* descriptors,
                  bool* timed_out, struct berth_failure* failure) {
    static uint8_t bytes[BERTH_MOST_REPLY];
    if (timed_out != NULL) *timed_out = false;
    const int64_t deadline = berth_now_ms() + timeout_ms;
    uint32_t length = 0;
    if (receive_whole(fd, (uint8_t*)&length, sizeof length, deadline, timed_out, descriptors, failure) < 0)
        return -1;
    length = ntohl(length);
    if (length > sizeof bytes)
        return lost_step("berthd announced a longer reply than this client takes", failure);
    if (receive_whole(fd, bytes, length, deadline, NULL, descriptors, failure) < 0) return -1;

    berth_forget_environment();
    *reply = (berth_v1_Reply)berth_v1_Reply_init_zero;
    reply->cb_body.funcs.decode = prepare_body;
    pb_istream_t stream = pb_istream_from_buffer(bytes, length);
    const bool decoded = pb_decode(&stream, berth_v1_Reply_fields, reply);
    if (decoded && reply->has_error) return keep_error(&reply->error, failure);
    /* The version comes first: of another one, the rest need not be readable. */
    const bool tells_version = decoded || reply->protocol != berth_v1_Protocol_PROTOCOL_UNSPECIFIED;
    if (tells_version && reply->protocol != berth_v1_Protocol_PROTOCOL_CURRENT) {
        char ours[16];
        char theirs[16];
        snprintf(ours, sizeof ours, "%d", (int)berth_v1_Protocol_PROTOCOL_CURRENT);
        snprintf(theirs, sizeof theirs, "%u", (unsigned)reply->protocol);
        return BERTH_FAIL(failure, BERTH_PROTOCOL_VERSION, (),
                          (BERTH_VERSION, ours, berth_host(), reply->version, theirs), ());
    }
    if (!decoded) return lost_step(PB_GET_ERROR(&stream), failure);
    return 0;
}

/* The client's end of berthd's socket (native/client/wire.c) against a berthd that sends anything at all.
 *   wire-test SEED ROUNDS */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <pb_encode.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../native/client/wire.h"

enum { HEADER = 4, MOST_BYTES = 20000, TIMEOUT_MS = 2000 };

static int failures = 0;

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "wire-test:%d: %s: %s\n", __LINE__, what, #condition); \
            failures++;                                                            \
        }                                                                          \
    } while (0)

struct bytes {
    uint8_t at[HEADER + MOST_BYTES];
    size_t length;
};

/* What one reply came to. */
struct outcome {
    int result;
    bool timed_out;
    int descriptors;
    bool close_on_exec;
    berth_v1_Reply reply;
    struct berth_failure failure;
};

static int open_descriptors(void) {
    DIR* directory = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

static bool is(const struct outcome* outcome, const char* code) {
    return outcome->result < 0 && strcmp(outcome->failure.code, code) == 0;
}

/* ---- making replies ---- */

static void set_header(struct bytes* frame, uint32_t announced) {
    const uint32_t length = htonl(announced);
    memcpy(frame->at, &length, HEADER);
}

static struct bytes framed(const void* payload, size_t length) {
    struct bytes frame;
    memcpy(frame.at + HEADER, payload, length);
    frame.length = HEADER + length;
    set_header(&frame, (uint32_t)length);
    return frame;
}

static struct bytes encoded(const berth_v1_Reply* reply) {
    uint8_t payload[MOST_BYTES];
    pb_ostream_t stream = pb_ostream_from_buffer(payload, sizeof payload);
    if (!pb_encode(&stream, berth_v1_Reply_fields, reply)) abort();
    return framed(payload, stream.bytes_written);
}

static bool encode_variable(pb_ostream_t* stream, const pb_field_t* field, void* const* argument) {
    const char* text = *argument;
    return pb_encode_tag_for_field(stream, field) &&
           pb_encode_string(stream, (const pb_byte_t*)text, strlen(text));
}

/* Three changes of PATH. */
static bool encode_environment(pb_ostream_t* stream, const pb_field_t* field, void* const* argument) {
    (void)argument;
    for (int i = 0; i < 3; i++) {
        berth_v1_EnvironmentChange change = berth_v1_EnvironmentChange_init_zero;
        change.kind = berth_v1_EnvironmentChange_Kind_KIND_PREPEND;
        change.name = (pb_callback_t){.funcs.encode = encode_variable, .arg = (void*)"PATH"};
        change.value = (pb_callback_t){.funcs.encode = encode_variable, .arg = (void*)"/opt/bin"};
        snprintf(change.separator, sizeof change.separator, ":");
        if (!pb_encode_tag_for_field(stream, field) ||
            !pb_encode_submessage(stream, berth_v1_EnvironmentChange_fields, &change))
            return false;
    }
    return true;
}

static struct bytes launch_reply(void) {
    berth_v1_Reply reply = berth_v1_Reply_init_zero;
    reply.protocol = berth_v1_Protocol_PROTOCOL_CURRENT;
    snprintf(reply.version, sizeof reply.version, "0.1.0");
    reply.which_body = berth_v1_Reply_launch_tag;
    snprintf(reply.body.launch.container_id, sizeof reply.body.launch.container_id, "0123456789ab");
    snprintf(reply.body.launch.image, sizeof reply.body.launch.image, "app:latest");
    reply.body.launch.user_namespace = true;
    reply.body.launch.origin_mntns = 4026531840U;
    reply.body.launch.has_interior = true;
    snprintf(reply.body.launch.interior.workdir, sizeof reply.body.launch.interior.workdir, "/work");
    reply.body.launch.interior.environment.funcs.encode = encode_environment;
    return encoded(&reply);
}

static struct bytes error_reply(uint32_t protocol, const char* why) {
    berth_v1_Reply reply = berth_v1_Reply_init_zero;
    reply.protocol = protocol;
    reply.has_error = true;
    reply.error.exit_status = 3;
    snprintf(reply.error.code, sizeof reply.error.code, "BERTH_IMAGE_UNKNOWN");
    snprintf(reply.error.what, sizeof reply.error.what, "what failed");
    snprintf(reply.error.why, sizeof reply.error.why, "%s", why);
    snprintf(reply.error.hint, sizeof reply.error.hint, "what to do");
    return encoded(&reply);
}

/* ---- the peer ---- */

static void send_with_descriptors(int fd, const void* bytes, size_t length, int count) {
    /* Not the socket itself: on its way it would keep the connection open. */
    const int sent = STDIN_FILENO;
    union {
        char space[CMSG_SPACE(sizeof(int) * 253)]; /* SCM_MAX_FD */
        struct cmsghdr align;
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {.iov_base = (void*)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        struct cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        for (int i = 0; i < count; i++)
            memcpy(CMSG_DATA(header) + (size_t)i * sizeof(int), &sent, sizeof sent);
    }
    if (sendmsg(fd, &message, MSG_NOSIGNAL) != (ssize_t)length) abort();
}

/* Receives on the other end of a pair of which `peer` has one; then there must be no descriptor more than
 * before. */
static struct outcome receive_from(void (*peer)(int fd, const struct bytes* frame, int argument),
                                   const struct bytes* frame, int argument, int timeout_ms, bool in_child) {
    static const char what[] = "no descriptor is left";
    const int before = open_descriptors();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) abort();
    const pid_t child = in_child ? fork() : 0;
    if (child == 0) {
        peer(pair[1], frame, argument);
        if (in_child) _exit(0);
    }
    close(pair[1]);
    struct outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    BERTH_FD fd = pair[0];
    BERTH_DESCRIPTORS descriptors = {.count = 0};
    outcome.result =
        berth_receive(fd, timeout_ms, &outcome.reply, &descriptors, &outcome.timed_out, &outcome.failure);
    outcome.descriptors = descriptors.count;
    outcome.close_on_exec = true;
    for (int i = 0; i < descriptors.count; i++)
        outcome.close_on_exec &= (fcntl(descriptors.fd[i], F_GETFD) & FD_CLOEXEC) != 0;
    berth_close_descriptors(&descriptors);
    berth_close(&fd);
    if (in_child) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    CHECK(open_descriptors() == before);
    return outcome;
}

/* Sends all at once, with `argument` descriptors. */
static void sends(int fd, const struct bytes* frame, int argument) {
    if (frame->length > 0) send_with_descriptors(fd, frame->at, frame->length, argument);
}

static struct outcome receive(const struct bytes* frame, int descriptors) {
    return receive_from(sends, frame, descriptors, TIMEOUT_MS, false);
}

/* Sends byte by byte, each with a descriptor where `argument` says so. */
static void dribbles(int fd, const struct bytes* frame, int argument) {
    for (size_t i = 0; i < frame->length; i++) send_with_descriptors(fd, frame->at + i, 1, argument);
}

/* Sends the first `argument` bytes and no more, without closing. */
static void stalls(int fd, const struct bytes* frame, int argument) {
    if (argument > 0) send_with_descriptors(fd, frame->at, (size_t)argument, 0);
    pause();
}

/* ---- the checks ---- */

static void check_good_replies(void) {
    const char* what = "a good reply";
    const struct bytes reply = launch_reply();
    struct outcome got = receive(&reply, 2);
    CHECK(got.result == 0 && got.descriptors == 2 && got.close_on_exec);
    CHECK(got.reply.which_body == berth_v1_Reply_launch_tag);
    CHECK(strcmp(got.reply.body.launch.container_id, "0123456789ab") == 0);
    CHECK(got.reply.body.launch.origin_mntns == 4026531840U);
    CHECK(strcmp(got.reply.body.launch.interior.workdir, "/work") == 0);
    CHECK(berth_received_environment().count == 3);
    got = receive(&reply, 0);
    CHECK(got.result == 0 && got.descriptors == 0);
    what = "a good reply, byte by byte";
    got = receive_from(dribbles, &reply, 0, TIMEOUT_MS, true);
    CHECK(got.result == 0 && strcmp(got.reply.body.launch.image, "app:latest") == 0);
}

static void check_errors(void) {
    const char* what = "an error reply";
    struct bytes reply = error_reply(berth_v1_Protocol_PROTOCOL_CURRENT, "the cause");
    struct outcome got = receive(&reply, 0);
    CHECK(is(&got, "BERTH_IMAGE_UNKNOWN") && got.failure.exit_status == 3);
    CHECK(strcmp(got.failure.what, "what failed") == 0 && strcmp(got.failure.why, "the cause") == 0);
    CHECK(strcmp(got.failure.hint, "what to do") == 0);
    what = "an error reply with descriptors";
    got = receive(&reply, 2);
    CHECK(is(&got, "BERTH_IMAGE_UNKNOWN"));
    what = "an error reply of another version";
    reply = error_reply(99, "the cause");
    got = receive(&reply, 0);
    CHECK(is(&got, "BERTH_IMAGE_UNKNOWN"));
    what = "an error reply that would steer a terminal";
    reply = error_reply(berth_v1_Protocol_PROTOCOL_CURRENT, "\033]0;title\007\nroot# \177");
    got = receive(&reply, 0);
    CHECK(strcmp(got.failure.why, "?]0;title??root# ?") == 0);
}

static void check_versions(void) {
    const char* what = "a reply of another version";
    berth_v1_Reply reply = berth_v1_Reply_init_zero;
    reply.protocol = 99;
    snprintf(reply.version, sizeof reply.version, "9.9.9");
    struct bytes frame = encoded(&reply);
    struct outcome got = receive(&frame, 2);
    CHECK(is(&got, "BERTH_PROTOCOL_VERSION"));
    CHECK(strstr(got.failure.why, "9.9.9") != NULL && strstr(got.failure.why, "99") != NULL);
    what = "a reply of another version in which a field has another type";
    static const uint8_t retyped[] = {0x08, 99, 0x1a, 5, '9', '.', '9', '.', '9', 0x50, 7};
    frame = framed(retyped, sizeof retyped);
    got = receive(&frame, 0);
    CHECK(is(&got, "BERTH_PROTOCOL_VERSION") && strstr(got.failure.why, "9.9.9") != NULL);
    what = "an empty reply, as of a version 0";
    frame = framed("", 0);
    got = receive(&frame, 0);
    CHECK(is(&got, "BERTH_PROTOCOL_VERSION"));
}

static void check_cut_replies(void) {
    const char* what = "a reply that is cut off";
    const struct bytes reply = launch_reply();
    for (size_t length = 0; length < reply.length; length++) {
        struct bytes cut = reply;
        cut.length = length;
        const struct outcome got = receive(&cut, length > 0 ? 2 : 0);
        CHECK(is(&got, "BERTH_DAEMON_UNREACHABLE") && !got.timed_out);
        if (length <= HEADER) continue;
        set_header(&cut, (uint32_t)(length - HEADER));
        const struct outcome shortened = receive(&cut, 2);
        CHECK(shortened.result == 0 || is(&shortened, "BERTH_PROTOCOL_FRAME"));
    }
}

static void check_oversized_replies(void) {
    const char* what = "a reply that announces too much";
    static const uint32_t lengths[] = {BERTH_MOST_REPLY + 1, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct bytes frame = launch_reply();
        set_header(&frame, lengths[i]);
        const struct outcome got = receive(&frame, 2);
        CHECK(is(&got, "BERTH_PROTOCOL_FRAME"));
    }
    what = "a text longer than its bound";
    uint8_t payload[600];
    memset(payload, 'x', sizeof payload);
    static const uint8_t start[] = {0x08, 1, 0x1a, 0xc8, 0x01}; /* version: 200 bytes where 31 fit */
    memcpy(payload, start, sizeof start);
    struct bytes frame = framed(payload, sizeof start + 200);
    const struct outcome got = receive(&frame, 0);
    CHECK(is(&got, "BERTH_PROTOCOL_FRAME"));
}

static void check_descriptors(void) {
    const char* what = "more descriptors than a reply has";
    const struct bytes reply = launch_reply();
    static const int counts[] = {1, 3, 8, 253};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const struct outcome got = receive(&reply, counts[i]);
        CHECK(got.result == 0 && got.descriptors <= BERTH_MOST_DESCRIPTORS);
        CHECK(got.descriptors == (counts[i] < BERTH_MOST_DESCRIPTORS ? counts[i] : BERTH_MOST_DESCRIPTORS));
    }
    what = "descriptors with every byte";
    const struct outcome got = receive_from(dribbles, &reply, 1, TIMEOUT_MS, true);
    CHECK(got.result == 0 && got.descriptors == BERTH_MOST_DESCRIPTORS && got.close_on_exec);
}

static void check_timeouts(void) {
    const char* what = "a berthd that says nothing";
    const struct bytes reply = launch_reply();
    const int64_t start = berth_now_ms();
    struct outcome got = receive_from(stalls, &reply, 0, 50, true);
    CHECK(is(&got, "BERTH_DAEMON_UNREACHABLE") && got.timed_out);
    CHECK(berth_now_ms() - start >= 50 && berth_now_ms() - start < 1500);
    what = "a berthd that stops in the middle";
    static const int lengths[] = {1, HEADER, HEADER + 3};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        got = receive_from(stalls, &reply, lengths[i], 50, true);
        CHECK(is(&got, "BERTH_DAEMON_UNREACHABLE") && !got.timed_out);
    }
}

/* Every text is one, and every variable has a name. */
static bool environment_is_whole(void) {
    const struct berth_environment environment = berth_received_environment();
    for (size_t i = 0; i < environment.count; i++) {
        const struct berth_change* change = &environment.changes[i];
        if (strlen(change->name) == 0 || strlen(change->value) > BERTH_MOST_REPLY) return false;
        if (memchr(change->separator, '\0', sizeof change->separator) == NULL) return false;
    }
    return true;
}

static void check_random_replies(unsigned seed, unsigned long rounds) {
    const char* what = "a random reply";
    srandom(seed);
    const struct bytes valid[] = {launch_reply(), error_reply(1, "the cause")};
    unsigned long understood = 0;
    for (unsigned long round = 0; round < rounds; round++) {
        struct bytes frame = valid[round % 2];
        if (round % 4 == 3) {
            frame.length = HEADER + (size_t)random() % 400;
            for (size_t i = HEADER; i < frame.length; i++) frame.at[i] = (uint8_t)random();
            set_header(&frame, (uint32_t)(frame.length - HEADER));
        }
        for (long change = random() % 4; change >= 0 && frame.length > HEADER; change--)
            frame.at[HEADER + (size_t)random() % (frame.length - HEADER)] = (uint8_t)random();
        const struct outcome got = receive(&frame, (int)(random() % 4));
        understood += got.result == 0;
        CHECK(got.result == 0 || memchr(got.failure.why, '\0', sizeof got.failure.why) != NULL);
        CHECK(got.descriptors <= BERTH_MOST_DESCRIPTORS);
        CHECK(environment_is_whole());
    }
    what = "random replies";
    CHECK(understood > rounds / 100 && understood < rounds);
    printf("%lu replies, %lu of them understood, seed %u\n", rounds, understood, seed);
}

static void check_sending(void) {
    const char* what = "a request to a berthd that is gone";
    struct berth_failure failure;
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_launch_tag;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) abort();
    BERTH_FD ours = pair[0];
    close(pair[1]);
    CHECK(berth_send(ours, &request, &failure) < 0 && strcmp(failure.code, "BERTH_DAEMON_UNREACHABLE") == 0);

    what = "a request with many groups";
    static gid_t gids[65536];
    for (size_t i = 0; i < sizeof gids / sizeof gids[0]; i++) gids[i] = (gid_t)(4000000000U + i);
    struct berth_groups groups = {.gids = gids, .count = 4096};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) abort();
    BERTH_FD sender = pair[0];
    BERTH_FD receiver = pair[1];
    berth_request_groups(&request.body.launch, &groups);
    CHECK(berth_send(sender, &request, &failure) == 0);
    what = "a request that is longer than berthd takes";
    groups.count = sizeof gids / sizeof gids[0];
    CHECK(berth_send(sender, &request, &failure) < 0 && strcmp(failure.code, "BERTH_PROTOCOL_FRAME") == 0);
    CHECK(receiver >= 0);
}

static void check_connecting(void) {
    const char* what = "a socket that is not there";
    struct berth_failure failure;
    const int before = open_descriptors();
    const int64_t start = berth_now_ms();
    CHECK(berth_connect("/nonexistent/berthd.sock", 0, &failure) < 0);
    CHECK(strcmp(failure.code, "BERTH_DAEMON_UNREACHABLE") == 0 && berth_now_ms() - start < 1000);
    what = "a socket that is waited for";
    CHECK(berth_connect("/nonexistent/berthd.sock", 120, &failure) < 0 && berth_now_ms() - start >= 120);
    what = "a path longer than a socket's may be";
    char path[300];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    CHECK(berth_connect(path, 1000, &failure) < 0 && strstr(failure.why, "too long") != NULL);
    what = "connecting leaves no descriptor";
    CHECK(open_descriptors() == before);
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    check_good_replies();
    check_errors();
    check_versions();
    check_cut_replies();
    check_oversized_replies();
    check_descriptors();
    check_timeouts();
    check_sending();
    check_connecting();
    check_random_replies((unsigned)strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10));
    return failures == 0 ? 0 : 1;
}

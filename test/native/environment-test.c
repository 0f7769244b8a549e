/* What a container does to the environment of those who enter it (native/client/environment.c), and the
 * options that a request carries (native/client/wire.c). */
#include <arpa/inet.h>
#include <pb_encode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../native/client/wire.h"

static int failures = 0;

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "environment-test:%d: %s: %s\n", __LINE__, what, #condition); \
            failures++;                                                                   \
        }                                                                                 \
    } while (0)

#define SET berth_v1_EnvironmentChange_Kind_KIND_SET
#define SET_IF_UNSET berth_v1_EnvironmentChange_Kind_KIND_SET_IF_UNSET
#define PREPEND berth_v1_EnvironmentChange_Kind_KIND_PREPEND
#define APPEND berth_v1_EnvironmentChange_Kind_KIND_APPEND
#define UNSET berth_v1_EnvironmentChange_Kind_KIND_UNSET

/* ---- applying ---- */

static int apply_one(struct berth_change change, struct berth_failure* failure) {
    const struct berth_environment environment = {.changes = &change, .count = 1};
    return berth_apply_environment(&environment, &berth_own_variables, failure);
}

/* The value of V that was `before` (NULL: unset) once the change is made; NULL when it is unset. Or why it
 * could not be made. */
static const char* after(const char* before, struct berth_change change) {
    static struct berth_failure failure;
    if (before != NULL) setenv("V", before, 1);
    if (before == NULL) unsetenv("V");
    change.name = "V";
    if (apply_one(change, &failure) < 0) return failure.why;
    return getenv("V");
}

static bool is(const char* text, const char* wanted) {
    return text == NULL || wanted == NULL ? text == wanted : strcmp(text, wanted) == 0;
}

static void check_changes(void) {
    const char* what = "a change";
    CHECK(is(after("old", (struct berth_change){.kind = SET, .value = "new"}), "new"));
    CHECK(is(after(NULL, (struct berth_change){.kind = SET, .value = ""}), ""));
    CHECK(is(after("old", (struct berth_change){.kind = SET_IF_UNSET, .value = "new"}), "old"));
    CHECK(is(after("", (struct berth_change){.kind = SET_IF_UNSET, .value = "new"}), ""));
    CHECK(is(after(NULL, (struct berth_change){.kind = SET_IF_UNSET, .value = "new"}), "new"));
    CHECK(is(after("old", (struct berth_change){.kind = UNSET, .value = ""}), NULL));
    CHECK(is(after(NULL, (struct berth_change){.kind = UNSET, .value = ""}), NULL));
    const struct berth_change prepend = {.kind = PREPEND, .value = "/a:/b", .separator = ":"};
    CHECK(is(after("/c:/d", prepend), "/a:/b:/c:/d"));
    CHECK(is(after("", prepend), "/a:/b"));
    CHECK(is(after(NULL, prepend), "/a:/b"));
    const struct berth_change append = {.kind = APPEND, .value = "b", .separator = ","};
    CHECK(is(after("a", append), "a,b"));
    CHECK(is(after("", append), "b"));
    CHECK(is(after(NULL, append), "b"));
    const struct berth_change nothing = {.kind = APPEND, .value = "", .separator = ","};
    CHECK(is(after("a", nothing), "a"));
    what = "a change that was made before";
    CHECK(is(after("/a:/b", prepend), "/a:/b"));
    CHECK(is(after("/a:/b:/c", prepend), "/a:/b:/c"));
    CHECK(is(after("/c:/a:/b:/d", prepend), "/a:/b:/c:/d"));
    CHECK(is(after("/c:/a:/b", prepend), "/a:/b:/c"));
    CHECK(is(after("/c/a:/b:/a:/bd", prepend), "/a:/b:/c/a:/b:/a:/bd"));
    CHECK(is(after("a,b", append), "a,b"));
    CHECK(is(after("b,a", append), "b,a"));
    CHECK(is(after("ab,ba", append), "ab,ba,b"));
    what = "a change without a separator";
    CHECK(is(after("a", (struct berth_change){.kind = APPEND, .value = "b"}), "ab"));
    what = "a change of a kind that does not exist";
    CHECK(strstr(after("a", (struct berth_change){.kind = 99, .value = "b"}), "V could not be changed") !=
          NULL);
}

static void check_order(void) {
    const char* what = "several changes";
    const struct berth_change changes[] = {
        {.kind = SET, .name = "V", .value = "image"},
        {.kind = PREPEND, .name = "V", .value = "module", .separator = ":"},
        {.kind = APPEND, .name = "V", .value = "user", .separator = ":"},
    };
    const struct berth_environment environment = {.changes = changes, .count = 3};
    struct berth_failure failure;
    CHECK(berth_apply_environment(&environment, &berth_own_variables, &failure) == 0);
    CHECK(is(getenv("V"), "module:image:user"));
}

static void check_length(void) {
    const char* what = "a variable longer than execve takes";
    static char most[128 * 1024];
    memset(most, 'x', sizeof most - 3);
    const struct berth_change prepend = {.kind = PREPEND, .value = "y", .separator = ":"};
    CHECK(strlen(after(most, prepend)) == sizeof most - 1);
    most[sizeof most - 3] = 'x';
    CHECK(strstr(after(most, prepend), "Argument list too long") != NULL);
}

/* ---- decoding ---- */

struct bytes {
    uint8_t at[BERTH_MOST_REPLY + 4];
    size_t length;
};

static void put_bytes(struct bytes* out, unsigned field, const void* bytes, size_t length) {
    out->at[out->length++] = (uint8_t)(field << 3 | 2);
    size_t rest = length;
    for (; rest >= 0x80; rest >>= 7) out->at[out->length++] = (uint8_t)(rest | 0x80);
    out->at[out->length++] = (uint8_t)rest;
    memcpy(out->at + out->length, bytes, length);
    out->length += length;
}

/* Has berth_receive take a LaunchReply whose Interior these bytes are. */
static int receive(const struct bytes* interior, struct berth_failure* failure) {
    static struct bytes launch;
    static struct bytes reply;
    static berth_v1_Reply taken;
    launch.length = 0;
    put_bytes(&launch, 6, interior->at, interior->length);
    memcpy(reply.at + 4, "\010\001", 2);
    reply.length = 6;
    put_bytes(&reply, 10, launch.at, launch.length);
    const uint32_t header = htonl((uint32_t)(reply.length - 4));
    memcpy(reply.at, &header, sizeof header);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) abort();
    BERTH_FD ours = pair[0];
    BERTH_FD theirs = pair[1];
    const int room = 2 * BERTH_MOST_REPLY;
    setsockopt(theirs, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    if (send(theirs, reply.at, reply.length, MSG_DONTWAIT) != (ssize_t)reply.length) abort();
    BERTH_DESCRIPTORS none = {.count = 0};
    return berth_receive(ours, 1000, &taken, &none, NULL, failure);
}

static void put_change(struct bytes* interior, const void* name, size_t name_length, const char* value) {
    static struct bytes change;
    change.length = 0;
    put_bytes(&change, 2, name, name_length);
    put_bytes(&change, 3, value, strlen(value));
    put_bytes(interior, 1, change.at, change.length);
}

static void check_received(void) {
    const char* what = "an environment that came with a reply";
    static struct bytes interior;
    struct berth_failure failure;
    put_change(&interior, "PATH", 4, "/usr/bin");
    put_change(&interior, "EMPTY", 5, "");
    CHECK(receive(&interior, &failure) == 0);
    struct berth_environment got = berth_received_environment();
    CHECK(got.count == 2 && is(got.changes[0].name, "PATH") && is(got.changes[0].value, "/usr/bin"));
    CHECK(is(got.changes[1].name, "EMPTY") && is(got.changes[1].value, ""));
    what = "a reply without an environment";
    interior.length = 0;
    CHECK(receive(&interior, &failure) == 0 && berth_received_environment().count == 0);
    what = "a variable whose name is none";
    static const char* const names[] = {"", "A=B", "A\0B"};
    static const size_t lengths[] = {0, 3, 3};
    for (size_t i = 0; i < 3; i++) {
        interior.length = 0;
        put_change(&interior, names[i], lengths[i], "value");
        CHECK(receive(&interior, &failure) < 0 && is(failure.code, "BERTH_PROTOCOL_FRAME"));
    }
    what = "as many variables as are taken, and one more";
    interior.length = 0;
    for (int i = 0; i < 4096; i++) put_change(&interior, "A", 1, "b");
    CHECK(receive(&interior, &failure) == 0 && berth_received_environment().count == 4096);
    put_change(&interior, "A", 1, "b");
    CHECK(receive(&interior, &failure) < 0 && strstr(failure.why, "too many variables") != NULL);
    what = "a reply that is nothing but one variable";
    static char value[BERTH_MOST_REPLY - 64];
    memset(value, 'x', sizeof value - 1);
    interior.length = 0;
    put_change(&interior, "A", 1, value);
    CHECK(receive(&interior, &failure) == 0);
    CHECK(strlen(berth_received_environment().changes[0].value) == sizeof value - 1);
}

/* ---- options ---- */

static void check_options(void) {
    const char* what = "the options of a request";
    static const struct berth_option list[] = {{"container-mounts", "/a b:/c,/d"},
                                               {"no-container-entrypoint", ""}};
    const struct berth_options options = {.list = list, .count = 2};
    berth_v1_LaunchRequest launch = berth_v1_LaunchRequest_init_zero;
    berth_request_options(&launch.options, &options);
    static uint8_t got[256];
    pb_ostream_t stream = pb_ostream_from_buffer(got, sizeof got);
    CHECK(pb_encode(&stream, berth_v1_LaunchRequest_fields, &launch));
    static struct bytes option;
    static struct bytes wanted;
    for (size_t i = 0; i < 2; i++) {
        option.length = 0;
        put_bytes(&option, 1, list[i].name, strlen(list[i].name));
        if (list[i].value[0] != '\0') put_bytes(&option, 2, list[i].value, strlen(list[i].value));
        put_bytes(&wanted, 12, option.at, option.length);
    }
    CHECK(stream.bytes_written == wanted.length && memcmp(got, wanted.at, wanted.length) == 0);
}

int main(void) {
    check_changes();
    check_order();
    check_length();
    check_received();
    check_options();
    return failures == 0 ? 0 : 1;
}

#include "environment.h"

#include <errno.h>
#include <limits.h>
#include <pb_decode.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire.h"

enum {
    /* A text takes a byte more here than it has, and two more in the reply: what fits there fits here. */
    MOST_TEXT = BERTH_MOST_REPLY,
    MOST_CHANGES = 4096,
    /* execve(2), MAX_ARG_STRLEN: longer is no variable. */
    MOST_VARIABLE = 128 * 1024,
};

static struct {
    char text[MOST_TEXT];
    size_t used;
    struct berth_change changes[MOST_CHANGES];
    size_t count;
} received;

struct berth_environment berth_received_environment(void) {
    return (struct berth_environment){.changes = received.changes, .count = received.count};
}

void berth_forget_environment(void) {
    received.used = 0;
    received.count = 0;
}

static bool decode_text(pb_istream_t* stream, const pb_field_t* field, void** argument) {
    (void)field;
    const size_t length = stream->bytes_left;
    if (length >= sizeof received.text - received.used) PB_RETURN_ERROR(stream, "too much text");
    char* text = received.text + received.used;
    if (!pb_read(stream, (pb_byte_t*)text, length)) return false;
    if (memchr(text, '\0', length) != NULL) PB_RETURN_ERROR(stream, "a variable with a NUL");
    text[length] = '\0';
    received.used += length + 1;
    *(const char**)*argument = text;
    return true;
}

static bool decode_change(pb_istream_t* stream, const pb_field_t* field, void** argument) {
    (void)field;
    (void)argument;
    if (received.count == MOST_CHANGES) PB_RETURN_ERROR(stream, "too many variables");
    struct berth_change change = {.name = "", .value = ""};
    berth_v1_EnvironmentChange message = berth_v1_EnvironmentChange_init_zero;
    message.name = (pb_callback_t){.funcs.decode = decode_text, .arg = &change.name};
    message.value = (pb_callback_t){.funcs.decode = decode_text, .arg = &change.value};
    if (!pb_decode(stream, berth_v1_EnvironmentChange_fields, &message)) return false;
    if (change.name[0] == '\0' || strchr(change.name, '=') != NULL)
        PB_RETURN_ERROR(stream, "a variable without a name");
    change.kind = message.kind;
    memcpy(change.separator, message.separator, sizeof change.separator);
    received.changes[received.count++] = change;
    return true;
}

void berth_expect_environment(pb_callback_t* field) {
    *field = (pb_callback_t){.funcs.decode = decode_change};
}

/* `first`, the separator, `second`; one of them alone where the other is empty. NULL when it is too long. */
static const char* join(const char* first, const char* separator, const char* second) {
    static char joined[MOST_VARIABLE];
    if (first[0] == '\0' || second[0] == '\0') separator = "";
    const size_t lengths[] = {strlen(first), strlen(separator), strlen(second)};
    if (lengths[0] + lengths[1] + lengths[2] >= sizeof joined) return NULL;
    memcpy(joined, first, lengths[0]);
    memcpy(joined + lengths[0], separator, lengths[1]);
    memcpy(joined + lengths[0] + lengths[1], second, lengths[2] + 1);
    return joined;
}

/* Where `part` is in the list, as elements of their own; NULL where it is not, or without a separator. */
static const char* find_part(const char* list, const char* separator, const char* part) {
    const size_t length = strlen(part);
    const size_t gap = strlen(separator);
    if (length == 0 || gap == 0) return NULL;
    for (const char* at = list; (at = strstr(at, part)) != NULL; at++) {
        const bool begins =
            at == list || ((size_t)(at - list) >= gap && memcmp(at - gap, separator, gap) == 0);
        if (begins && (at[length] == '\0' || strncmp(at + length, separator, gap) == 0)) return at;
    }
    return NULL;
}

/* A program that was itself started in the container hands on what was added there: a step of its own would
 * have that twice. NULL when it is too long. */
static const char* prepend(const struct berth_change* change, const char* present) {
    static char rest[MOST_VARIABLE];
    const char* again = find_part(present, change->separator, change->value);
    if (again == present) return present;
    if (again == NULL) return join(change->value, change->separator, present);
    const size_t before = (size_t)(again - present) - strlen(change->separator);
    const char* behind = again + strlen(change->value);
    if (before + strlen(behind) >= sizeof rest) return NULL;
    snprintf(rest, sizeof rest, "%.*s%s", (int)before, present, behind);
    return join(change->value, change->separator, rest);
}

static const char* append(const struct berth_change* change, const char* present) {
    if (find_part(present, change->separator, change->value) != NULL) return present;
    return join(present, change->separator, change->value);
}

static int apply(const struct berth_change* change, const struct berth_variables* variables) {
    if (change->kind == berth_v1_EnvironmentChange_Kind_KIND_UNSET)
        return variables->unset(variables->context, change->name);
    const char* present = variables->get(variables->context, change->name);
    const char* value = change->value;
    switch (change->kind) {
        case berth_v1_EnvironmentChange_Kind_KIND_SET_IF_UNSET:
            if (present != NULL) return 0;
            break;
        case berth_v1_EnvironmentChange_Kind_KIND_PREPEND:
            if (present != NULL) value = prepend(change, present);
            break;
        case berth_v1_EnvironmentChange_Kind_KIND_APPEND:
            if (present != NULL) value = append(change, present);
            break;
        case berth_v1_EnvironmentChange_Kind_KIND_SET:
            break;
        default:
            errno = EINVAL;
            return -1;
    }
    if (value == NULL) {
        errno = E2BIG;
        return -1;
    }
    return variables->set(variables->context, change->name, value);
}

int berth_apply_environment(const struct berth_environment* environment,
                            const struct berth_variables* variables, struct berth_failure* failure) {
    for (size_t i = 0; i < environment->count; i++) {
        const struct berth_change* change = &environment->changes[i];
        if (apply(change, variables) == 0) continue;
        return BERTH_FAIL(
            failure, BERTH_JOIN_FAILED, (berth_host()),
            (BERTH_TEXT("the variable %.128s could not be changed: %s", change->name, strerror(errno))), ());
    }
    return 0;
}

static bool is_here(const char* path) {
    struct stat named;
    struct stat here;
    return path != NULL && path[0] == '/' && stat(path, &named) == 0 && stat(".", &here) == 0 &&
           named.st_ino == here.st_ino && named.st_dev == here.st_dev;
}

void berth_note_directory(const struct berth_variables* variables) {
    char here[PATH_MAX];
    if (is_here(variables->get(variables->context, "PWD"))) return;
    /* Without a name below the root, as of one that was removed, it is not found by what would be said. */
    if (getcwd(here, sizeof here) != NULL && here[0] == '/') variables->set(variables->context, "PWD", here);
}

static const char* get_own(void* context, const char* name) {
    (void)context;
    return getenv(name);
}

static int set_own(void* context, const char* name, const char* value) {
    (void)context;
    return setenv(name, value, 1);
}

static int unset_own(void* context, const char* name) {
    (void)context;
    return unsetenv(name);
}

const struct berth_variables berth_own_variables = {.get = get_own, .set = set_own, .unset = unset_own};

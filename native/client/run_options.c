/* `berth run`: its command line, in podman's words, in srun's and in its own. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "berth.h"
#include "run.h"
#include "start.h"

/* Options that berthd is told of under a name of srun's. */
static const struct row {
    const char* option;
    const char* name; /* as berthd knows it */
    int takes;
    char separator; /* between the volumes that it takes */
} rows[] = {
    {"volume", "volume", required_argument, ';'},
    {"workdir", "container-workdir", required_argument, '\0'},
    {"root", "container-remap-root", no_argument, '\0'},
    {"writable", "container-writable", optional_argument, '\0'},
    {"read-only", "container-readonly", no_argument, '\0'},
    {"module", "module", required_argument, '\0'},
    {"no-entrypoint", "no-container-entrypoint", no_argument, '\0'},
    {"no-home", "no-container-mount-home", no_argument, '\0'},
    {"unshare", "container-unshare", required_argument, '\0'},
    {"container-mounts", "container-mounts", required_argument, ','},
    {"container-workdir", "container-workdir", required_argument, '\0'},
    {"container-name", "container-name", required_argument, '\0'},
    {"container-save", "container-save", required_argument, '\0'},
    {"container-mount-home", "container-mount-home", no_argument, '\0'},
    {"no-container-mount-home", "no-container-mount-home", no_argument, '\0'},
    {"container-remap-root", "container-remap-root", no_argument, '\0'},
    {"no-container-remap-root", "no-container-remap-root", no_argument, '\0'},
    {"container-entrypoint", "container-entrypoint", no_argument, '\0'},
    {"no-container-entrypoint", "no-container-entrypoint", no_argument, '\0'},
    {"container-entrypoint-log", "container-entrypoint-log", no_argument, '\0'},
    {"container-writable", "container-writable", optional_argument, '\0'},
    {"container-readonly", "container-readonly", no_argument, '\0'},
    {"container-env", "container-env", required_argument, '\0'},
    {"container-unshare", "container-unshare", required_argument, '\0'},
};

/* Those that mean something here: letters, or numbers past them. */
enum {
    ROWS = sizeof rows / sizeof rows[0],
    ENV_FILE = 256,
    ENTRYPOINT,
    NAME,
    REMOVE,
    PULL,
    SOCKET,
    FIRST_ROW
};
static const struct option own[] = {
    {"interactive", no_argument, NULL, 'i'}, {"tty", no_argument, NULL, 't'},
    {"env", required_argument, NULL, 'e'},   {"env-file", required_argument, NULL, ENV_FILE},
    {"detach", no_argument, NULL, 'd'},      {"entrypoint", optional_argument, NULL, ENTRYPOINT},
    {"name", required_argument, NULL, NAME}, {"rm", no_argument, NULL, REMOVE},
    {"pull", required_argument, NULL, PULL}, {"socket", required_argument, NULL, SOCKET},
};
enum { OWN = sizeof own / sizeof own[0] };

static int usage(const char* what, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_USAGE, (what), (why), ("berth run"));
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

static int refuse(const char* option, const char* value, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_OPTION, (option, value), (why), ());
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

/* Is this "." or ".." at the head of a path, of which so much is left? Its length, or 0. */
static size_t dots_of(const char* path, size_t left) {
    const size_t length = strspn(path, ".");
    if (length == 0 || length > 2) return 0;
    return length == left || path[length] == '/' || path[length] == ':' ? length : 0;
}

/* A volume of where the user is, as shells and podman have it: "./data:/data", "..:/all". Others stay as they
 * are. Where the text ends, or NULL with errno. */
static char* add_from_here(char* text, char* end, const char* volume, size_t length, char separator) {
    char here[PATH_MAX] = "";
    const char ends[] = {':', separator, '\0'};
    const char* rest = volume;
    const char* stop = volume + length;
    if (dots_of(volume, length) > 0 && getcwd(here, sizeof here) == NULL) return NULL;
    for (size_t dots; (dots = dots_of(rest, (size_t)(stop - rest))) > 0;) {
        /* The kernel's name has no links: the directory above is the one that it says. */
        char* last = strrchr(here, '/');
        if (last != NULL && (dots == 2 || last[1] == '\0')) *last = '\0';
        rest += dots + (rest[dots] == '/');
    }
    /* Whoever has named the directory, perhaps somebody else, would say what is mounted where. */
    if (strpbrk(here, ends) != NULL) {
        errno = EINVAL;
        return NULL;
    }
    const bool is_all = rest == stop || rest[0] == ':';
    const char* slash = rest == volume || (is_all && here[0] != '\0') ? "" : "/";
    const int count = snprintf(text, (size_t)(end - text), "%s%s%.*s", here, slash, (int)(stop - rest), rest);
    if (count >= 0 && count < end - text) return text + count;
    errno = ENAMETOOLONG;
    return NULL;
}

/* The same of all volumes between which that stands. NULL with errno. */
static const char* from_here(const char* volumes, char separator, char* text, size_t size) {
    char* at = text;
    char* end = text + size;
    for (const char* volume = volumes;; volume++) {
        const char between[] = {separator, '\0'};
        const size_t length = separator == '\0' ? strlen(volume) : strcspn(volume, between);
        at = add_from_here(at, end, volume, length, separator);
        if (at == NULL) return NULL;
        volume += length;
        if (*volume == '\0') return text;
        if (end - at < 2) {
            errno = ENAMETOOLONG;
            return NULL;
        }
        *at++ = *volume;
    }
}

struct texts {
    char* text[256];
    size_t count;
};

static void free_texts(struct texts* texts) {
    for (size_t i = 0; i < texts->count; i++) free(texts->text[i]);
}

/* A text that lasts as long as the others. */
static const char* keep(struct texts* texts, const char* text) {
    if (text == NULL || texts->count == sizeof texts->text / sizeof texts->text[0]) return NULL;
    char* copy = strdup(text);
    if (copy != NULL) texts->text[texts->count++] = copy;
    return copy;
}

static const char* add_volumes(struct berth_run* run, struct texts* texts, const char* name, char separator,
                               const char* volumes) {
    char text[8 * PATH_MAX];
    const char* whole = from_here(volumes, separator, text, sizeof text);
    if (whole == NULL && errno == EINVAL)
        return "the path of the directory where you are has a character at which a volume's path ends: "
               "write a path that has none";
    if (whole == NULL) return strerror(errno);
    const char* kept = keep(texts, whole);
    return kept == NULL ? "there are too many of them" : berth_run_add(run, name, kept);
}

static const char* set_name(struct berth_run* run, struct texts* texts, const char* name) {
    char text[128];
    if (strchr(name, ':') != NULL || (size_t)snprintf(text, sizeof text, "%s:create", name) >= sizeof text)
        return "a name has letters, digits, \"_\", \".\" and \"-\", and at most 64 of them";
    const char* kept = keep(texts, text);
    run->name = name;
    return kept == NULL ? strerror(ENOMEM) : berth_run_add(run, "container-name", kept);
}

static const char* set_entrypoint(struct berth_run* run, const char* program) {
    if (program == NULL) return berth_run_add(run, "container-entrypoint", "");
    run->program = program[0] == '\0' ? NULL : program;
    return berth_run_add(run, "no-container-entrypoint", "");
}

static const char* set_pull(struct berth_run* run, const char* policy) {
    run->never_pull = strcmp(policy, "never") == 0;
    return run->never_pull || strcmp(policy, "missing") == 0
               ? NULL
               : "it takes missing or never; berth pull brings what is new";
}

/* NULL, or what is wrong with the option's value. */
static const char* take(struct berth_run* run, struct texts* texts, int option, const char* value) {
    switch (option) {
        case 'i': /* the program always has this terminal and this standard input */
        case 't':
        case REMOVE: /* it never stays */
            return NULL;
        case 'v':
            return add_volumes(run, texts, "mount", '\0', value);
        case 'e':
            return berth_variables_add(&run->variables, value);
        case ENV_FILE:
            return berth_variables_read(&run->variables, value);
        case 'w':
            return berth_run_add(run, "container-workdir", value);
        case 'd':
            run->detached = true;
            return NULL;
        case ENTRYPOINT:
            return set_entrypoint(run, value);
        case NAME:
            return set_name(run, texts, value);
        case PULL:
            return set_pull(run, value);
        case SOCKET:
            run->socket = value;
            return NULL;
        default:
            break;
    }
    const struct row* row = &rows[option - FIRST_ROW];
    if (row->separator != '\0') return add_volumes(run, texts, row->name, row->separator, value);
    return berth_run_add(run, row->name, value == NULL ? "" : value);
}

int berth_run(int argc, char** argv) {
    static struct berth_run run;
    static struct option known[OWN + ROWS + 1];
    struct texts texts __attribute__((cleanup(free_texts))) = {.count = 0};
    memcpy(known, own, sizeof own);
    for (int i = 0; i < ROWS; i++)
        known[OWN + i] =
            (struct option){.name = rows[i].option, .has_arg = rows[i].takes, .val = FIRST_ROW + i};
    run.socket = getenv("BERTH_SOCKET");
    if (run.socket == NULL || run.socket[0] == '\0') run.socket = BERTH_SOCKET;
    opterr = 0;
    int index = -1;
    for (int option; (option = getopt_long(argc, argv, "+:itv:e:w:d", known, &index)) != -1; index = -1) {
        if (option == ':' || option == '?')
            return usage(option == ':' ? "an option lacks its value" : "berth run has no such option",
                         argv[optind - 1]);
        const char* fault = take(&run, &texts, option, optarg);
        if (fault == NULL) continue;
        char name[64];
        if (index >= 0)
            snprintf(name, sizeof name, "--%s", known[index].name);
        else
            snprintf(name, sizeof name, "-%c", option);
        return refuse(name, optarg == NULL ? "" : optarg, fault);
    }
    bool is_named = false;
    for (size_t i = 0; i < run.count; i++) is_named |= strcmp(run.list[i].name, "container-name") == 0;
    if (optind >= argc && !is_named) return usage("no image was named", "berth run IMAGE COMMAND");
    if (optind < argc) {
        const char* fault = berth_run_set_image(&run, argv[optind]);
        if (fault != NULL) return refuse("berth run", argv[optind], fault);
        optind++;
    }
    run.command = argv + optind;
    const int status = berth_run_go(&run);
    berth_variables_free(&run.variables);
    return status;
}

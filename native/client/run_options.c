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
    int takes;
    const char* name;  /* as berthd knows it */
    const char* value; /* instead of one that the option takes; NULL */
} rows[] = {
    {"volume", required_argument, "volume", NULL},
    {"workdir", required_argument, "container-workdir", NULL},
    {"root", no_argument, "container-remap-root", NULL},
    {"writable", optional_argument, "container-writable", NULL},
    {"read-only", no_argument, "container-readonly", NULL},
    {"module", required_argument, "module", NULL},
    {"no-entrypoint", no_argument, "no-container-entrypoint", NULL},
    {"no-home", no_argument, "no-container-mount-home", NULL},
    {"unshare", required_argument, "container-unshare", NULL},
    {"container-mounts", required_argument, "container-mounts", NULL},
    {"container-workdir", required_argument, "container-workdir", NULL},
    {"container-name", required_argument, "container-name", NULL},
    {"container-save", required_argument, "container-save", NULL},
    {"container-mount-home", no_argument, "container-mount-home", NULL},
    {"no-container-mount-home", no_argument, "no-container-mount-home", NULL},
    {"container-remap-root", no_argument, "container-remap-root", NULL},
    {"no-container-remap-root", no_argument, "no-container-remap-root", NULL},
    {"container-entrypoint", no_argument, "container-entrypoint", NULL},
    {"no-container-entrypoint", no_argument, "no-container-entrypoint", NULL},
    {"container-entrypoint-log", no_argument, "container-entrypoint-log", NULL},
    {"container-writable", optional_argument, "container-writable", NULL},
    {"container-readonly", no_argument, "container-readonly", NULL},
    {"container-env", required_argument, "container-env", NULL},
    {"container-unshare", required_argument, "container-unshare", NULL},
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

/* As a shell's user writes a volume of where they are: podman takes that too. NULL when it is too long. */
static const char* from_here(const char* volume, char* text, size_t size) {
    const bool is_here =
        strcmp(volume, ".") == 0 || strncmp(volume, "./", 2) == 0 || strncmp(volume, ".:", 2) == 0;
    if (!is_here) return volume;
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == NULL) return NULL;
    return (size_t)snprintf(text, size, "%s%s", here, volume + 1) < size ? text : NULL;
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

static const char* add_volume(struct berth_run* run, struct texts* texts, const char* volume) {
    char text[2 * PATH_MAX];
    const char* kept = keep(texts, from_here(volume, text, sizeof text));
    return kept == NULL ? "there are too many of them, or it is too long" : berth_run_add(run, "mount", kept);
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
            return add_volume(run, texts, value);
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

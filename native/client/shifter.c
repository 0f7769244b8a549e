/* `shifter` on a host: `berth run` with Shifter's options, and those of the job for what they do not say. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../shifter/options.h"
#include "berth.h"
#include "run.h"
#include "start.h"

static const char help[] =
    "Usage: shifter [OPTIONS] [--] [COMMAND [ARGUMENT...]]\n"
    "\n"
    "Runs a command in a container, as Shifter does: `berth run` by another name.\n"
    "\n"
    "  -i, --image=REF           the image; without it, that of the job\n"
    "  -V, --volume=SRC:DST[:FLAGS][;...]\n"
    "  -m, --module=NAME[,NAME...]|none\n"
    "  -w, --workdir=DIR         where the command starts\n"
    "  -e, --env=NAME[=VALUE]    set a variable\n"
    "      --env-file=FILE       set those of a file\n"
    "      --entrypoint[=CMD]    start the command by the image's entrypoint, or by CMD\n";

static int refuse(const char* option, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_USAGE, (BERTH_TEXT("shifter cannot take %s", option)), (why), ("shifter"));
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

/* What a line of the job's is about, where the command line can say it too. */
static bool is_said(const struct shifter_options* options, const char* name) {
    static const char* const volumes[] = {"volume", "container-mounts", "mount"};
    for (size_t i = 0; i < sizeof volumes / sizeof volumes[0]; i++) {
        if (strcmp(name, volumes[i]) == 0) return options->volume_count > 0;
    }
    if (strcmp(name, "module") == 0) return options->module != NULL;
    if (strcmp(name, "container-workdir") == 0) return options->workdir != NULL;
    if (strstr(name, "container-entrypoint") != NULL) return options->by_entrypoint;
    return false;
}

/* Of the job's, but not of its containers. */
static bool is_not_for_berthd(const char* name) {
    static const char* const names[] = {"image", "container-image", "environment", "container-contain",
                                        "container-save"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) return true;
    }
    return false;
}

static const char* add_options(struct berth_run* run, const struct shifter_options* options) {
    const char* fault = NULL;
    struct shifter_line line;
    for (char* at = NULL; fault == NULL && shifter_next_line(&at, &line);) {
        if (!is_not_for_berthd(line.name) && !is_said(options, line.name))
            fault = berth_run_add(run, line.name, line.value);
    }
    for (int i = 0; fault == NULL && i < options->volume_count; i++)
        fault = berth_run_add(run, "volume", options->volumes[i]);
    if (fault == NULL && options->module != NULL) fault = berth_run_add(run, "module", options->module);
    if (fault == NULL && options->workdir != NULL)
        fault = berth_run_add(run, "container-workdir", options->workdir);
    if (fault != NULL || !options->by_entrypoint) return fault;
    if (options->entrypoint[0] == '\0') return berth_run_add(run, "container-entrypoint", "");
    run->program = options->entrypoint;
    return berth_run_add(run, "no-container-entrypoint", "");
}

/* A batch script that begins with "#!/usr/bin/shifter /bin/bash" lies in Slurm's spool directory, which
 * containers have not. */
static const char* add_script(struct berth_run* run, char* const* command) {
    static char volume[(size_t)2 * PATH_MAX + sizeof "::ro"];
    const char* script = command[0] == NULL ? NULL : command[1];
    const char* name = script == NULL || script[0] != '/' ? NULL : strrchr(script, '/');
    if (name == NULL || strcmp(name, "/slurm_script") != 0) return NULL;
    if ((size_t)snprintf(volume, sizeof volume, "%s:%s:ro", script, script) >= sizeof volume)
        return "the script's path is too long";
    return berth_run_add(run, "mount", volume);
}

int berth_shifter(int argc, char** argv) {
    /* A host's own programs may be there in a container too: there, this is the other one's business. */
    execv("/.berth/bin/shifter", argv);
    static struct berth_run run;
    static struct shifter_options options;
    static char image[sizeof run.image];
    static char* const shell[] = {(char*)"/bin/sh", NULL};
    struct shifter_fault fault;
    if (shifter_parse(argc, argv, &options, &fault) < 0) return refuse(fault.option, fault.why);
    if (options.wants_help) {
        fputs(help, stdout);
        return 0;
    }
    run.socket = getenv("BERTH_SOCKET");
    if (run.socket == NULL || run.socket[0] == '\0') run.socket = BERTH_SOCKET;
    if (options.image != NULL)
        snprintf(image, sizeof image, "%s", options.image);
    else
        shifter_image_of_job(image, sizeof image);
    if (image[0] == '\0')
        return refuse("a command without an image", "neither --image nor the job says which: --image=NAME");
    const char* wrong = berth_run_set_image(&run, image);
    if (wrong == NULL) wrong = add_options(&run, &options);
    if (wrong == NULL) wrong = add_script(&run, options.command);
    if (wrong != NULL) return refuse(image, wrong);
    run.variables = options.variables;
    run.command = options.command[0] != NULL ? options.command : shell;
    return berth_run_go(&run);
}

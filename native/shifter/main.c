/* `shifter` in a container: the rank is in already, so this starts the program right here. What would make
 * another container of this one is told to be srun's business. It lies at /.berth/bin, at the end of the
 * PATH, and runs in images that need not have a C library. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../client/failure.h"
#include "../entrypoint/report.h"
#include "options.h"

enum { STATUS_NOT_RUNNABLE = 126, STATUS_NOT_FOUND = 127, MOST_WORDS = 4096 };

static const char help[] =
    "Usage: shifter [OPTIONS] [--] [COMMAND [ARGUMENT...]]\n"
    "\n"
    "This is a container already; the command is started in it.\n"
    "\n"
    "  -w, --workdir=DIR         where the command starts\n"
    "  -e, --env=NAME[=VALUE]    set a variable\n"
    "      --env-file=FILE       set those of a file\n"
    "      --entrypoint[=CMD]    start the command by the image's entrypoint, or by CMD\n"
    "  -i, --image=REF, -V, --volume=..., -m, --module=...\n"
    "                            taken where they say what the container is; else give them to srun\n";

static int refuse(const char* option, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_SHIFTER_INSIDE, (option), (why), ());
    fprintf(stderr, "berth: %s: %s\nberth:   why: %s\nberth:   hint: %s\n", failure.code, failure.what,
            failure.why, failure.hint);
    return (int)failure.exit_status;
}

static const char* without(const char* text, const char* prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0 ? text + strlen(prefix) : text;
}

/* A reference with the tag that goes without saying, and `docker:` as the registry that is meant by it. */
static void whole(const char* reference, char* text, size_t size) {
    const char* rest = without(without(reference, "docker://"), "docker:");
    const bool is_dockers = rest != reference && strchr(rest, '/') == NULL;
    const char* registry = is_dockers ? "docker.io/library/" : "";
    if (rest != reference && !is_dockers && strpbrk(rest, ".:/") == strchr(rest, '/'))
        registry = "docker.io/";
    const char* slash = strrchr(rest, '/');
    const bool tagged =
        rest[0] == '/' || strchr(rest, '@') != NULL || strchr(slash == NULL ? rest : slash, ':') != NULL;
    snprintf(text, size, "%s%s%s", registry, rest, tagged ? "" : ":latest");
}

/* Does `asked` mean `image`? A short name also means an image of Docker's registry. */
static bool is_same(const char* asked, const char* image) {
    char first[4300];
    char second[4300];
    if (image == NULL || image[0] == '\0') return false;
    whole(asked, first, sizeof first);
    whole(image, second, sizeof second);
    return strcmp(first, second) == 0 || strcmp(first, without(second, "docker.io/library/")) == 0 ||
           strcmp(first, without(second, "docker.io/")) == 0;
}

/* Is this container of that image? */
static bool is_image(const char* image) {
    char of_job[4200];
    const char* digest = getenv("BERTH_IMAGE_DIGEST");
    const char* id = without(without(image, "id:"), "sha256:");
    const char* own = digest == NULL ? "" : without(digest, "sha256:");
    if (strlen(id) >= 12 && strncmp(own, id, strlen(id)) == 0) return true;
    if (is_same(image, getenv("BERTH_IMAGE"))) return true;
    struct shifter_line line;
    for (char* at = NULL; shifter_next_line(&at, &line);) {
        if (strstr(line.name, "image") != NULL && is_same(image, line.value)) return true;
    }
    shifter_image_of_job(of_job, sizeof of_job);
    return is_same(image, of_job);
}

/* Was the job given this option with this value? */
static bool is_given(const char* name, const char* value) {
    struct shifter_line line;
    for (char* at = NULL; shifter_next_line(&at, &line);) {
        if (strcmp(line.name, name) == 0 && strcmp(line.value, value) == 0) return true;
    }
    return false;
}

/* What the command line says of the container has to be so. 0, or an exit status. */
static int check(const struct shifter_options* options) {
    const char* image = getenv("BERTH_IMAGE");
    if (options->image != NULL && !is_image(options->image)) {
        char option[4200];
        char why[4200];
        snprintf(option, sizeof option, "--image=%s", options->image);
        snprintf(why, sizeof why, "it runs in a container already, of the image %s",
                 image == NULL ? "?" : image);
        return refuse(option, why);
    }
    for (int i = 0; i < options->volume_count; i++) {
        if (!is_given("volume", options->volumes[i]))
            return refuse("--volume", "it runs in a container already, which was made without that volume");
    }
    if (options->module != NULL && !is_given("module", options->module))
        return refuse("--module", "it runs in a container already, whose modules were chosen otherwise");
    return 0;
}

/* The image's own words, where the container was made with them. Their number, or -1. */
static int read_entrypoint(char** words) {
    static char text[64 * 1024 + 1];
    const int file = open(ENTRYPOINT_WORDS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    int count = length < 0 ? -1 : 0;
    for (char* word = text; length > 0 && word < text + length && count < MOST_WORDS;
         word += strlen(word) + 1)
        words[count++] = word;
    return count;
}

static int become(const struct shifter_options* options) {
    static char* words[2 * MOST_WORDS + 1];
    int count = 0;
    if (options->by_entrypoint && options->entrypoint[0] != '\0')
        words[count++] = (char*)options->entrypoint;
    else if (options->by_entrypoint)
        count = read_entrypoint(words);
    if (count < 0)
        return refuse("--entrypoint",
                      "the container was made without the image's entrypoint "
                      "(srun --container-entrypoint)");
    for (size_t i = 0; options->command[i] != NULL && count < 2 * MOST_WORDS; i++)
        words[count++] = options->command[i];
    if (count == 0) words[count++] = (char*)"/bin/sh";
    execvp(words[0], words);
    const int reason = errno;
    fprintf(stderr, "shifter: %s: %s\n", words[0], strerror(reason));
    return reason == ENOENT || reason == ENOTDIR ? STATUS_NOT_FOUND : STATUS_NOT_RUNNABLE;
}

int main(int argc, char** argv) {
    static struct shifter_options options;
    struct shifter_fault fault;
    if (shifter_parse(argc, argv, &options, &fault) < 0) return refuse(fault.option, fault.why);
    if (options.wants_help) {
        fputs(help, stdout);
        return 0;
    }
    const int status = check(&options);
    if (status != 0) return status;
    for (size_t i = 0; i < options.variables.count; i++) putenv(options.variables.text[i]);
    if (options.workdir != NULL) {
        char here[PATH_MAX];
        if (chdir(options.workdir) < 0) return refuse("--workdir", strerror(errno));
        if (getcwd(here, sizeof here) != NULL) setenv("PWD", here, 1);
    }
    return become(&options);
}

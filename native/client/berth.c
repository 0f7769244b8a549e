/* The `berth` command. What has to start in a millisecond is done here; everything else is handed to Node. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "berth.h"
#include "failure.h"

/* Where the rest of the command line is, beside this executable or where a package puts it. Only paths that
 * belong to this installation: the environment has no say. */
static const char* const scripts[] = {"/../lib/cli.js", "/../lib/berth/cli.js"};
static const char* const nodes[] = {"/usr/bin/node", "/usr/local/bin/node"};

static int find_script(char* path, size_t size) {
    char self[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return -1;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if ((size_t)snprintf(path, size, "%s%s", self, scripts[i]) < size && access(path, R_OK) == 0)
            return 0;
    }
    return -1;
}

static int run_node(int argc, char** argv) {
    char script[PATH_MAX];
    if (find_script(script, sizeof script) < 0) {
        fprintf(stderr,
                "berth: BERTH_INTERNAL: cli.js is not beside this command\n"
                "berth:   hint: install Berth again\n");
        return 1;
    }
    char** arguments = calloc((size_t)argc + 2, sizeof *arguments);
    if (arguments == NULL) return 1;
    arguments[1] = script;
    for (int i = 1; i < argc; i++) arguments[i + 1] = argv[i];
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        arguments[0] = (char*)nodes[i];
        execv(nodes[i], arguments);
    }
    arguments[0] = (char*)"node";
    execvp("node", arguments);
    fprintf(stderr,
            "berth: BERTH_INTERNAL: node could not be started: %s\n"
            "berth:   hint: install Node.js 20 or newer as /usr/bin/node\n",
            strerror(errno));
    free(arguments);
    return 1;
}

static bool asks_for_help(int argc, char** argv) {
    for (int i = 2; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    }
    return false;
}

static int run_health(int argc, char** argv, bool from_slurm) {
    const int status = berth_health(argc, argv, from_slurm);
    if (status != BERTH_HEALTH_DEAD) return status;
    char* words[] = {argv[0], (char*)"health", (char*)"--daemon-dead", NULL};
    return run_node(3, words);
}

static bool is_called(const char* program, const char* name) {
    const char* slash = strrchr(program, '/');
    return strcmp(slash == NULL ? program : slash + 1, name) == 0;
}

/* Shifter's command for images. */
static int run_shifterimg(int argc, char** argv) {
    static const char* const words[][2] = {{"pull", "pull"}, {"images", "images"}, {"lookup", "inspect"}};
    for (size_t i = 0; argc > 1 && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(argv[1], words[i][0]) != 0) continue;
        argv[1] = (char*)words[i][1];
        return run_node(argc, argv);
    }
    fprintf(stderr, "usage: shifterimg pull|images|lookup [IMAGE]   (berth pull, images, inspect)\n");
    return 2;
}

int main(int argc, char** argv) {
    if (argc < 1) return 2;
    if (berth_is_health_check(argv[0])) return run_health(argc, argv, true);
    if (is_called(argv[0], "shifter")) return berth_shifter(argc, argv);
    if (is_called(argv[0], "shifterimg")) return run_shifterimg(argc, argv);
    const char* command = argc >= 2 && !asks_for_help(argc, argv) ? argv[1] : "";
    if (strcmp(command, "exec") == 0) return berth_exec(argc - 1, argv + 1);
    if (strcmp(command, "run") == 0) return berth_run(argc - 1, argv + 1);
    if (strcmp(command, "stop") == 0) return berth_stop(argc - 1, argv + 1);
    if (strcmp(command, "wait") == 0) return berth_wait(argc - 1, argv + 1);
    if (strcmp(command, "logs") == 0) return berth_logs(argc - 1, argv + 1);
    const bool is_dead = argc == 3 && strcmp(argv[2], "--daemon-dead") == 0;
    if (strcmp(command, "health") == 0 && !is_dead) return run_health(argc - 1, argv + 1, false);
    return run_node(argc, argv);
}

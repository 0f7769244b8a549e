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

int main(int argc, char** argv) {
    if (argc >= 2 && strcmp(argv[1], "exec") == 0) {
        for (int i = 2; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++) {
            if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return run_node(argc, argv);
        }
        return berth_exec(argc - 1, argv + 1);
    }
    return run_node(argc, argv);
}

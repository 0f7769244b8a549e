/* What a site gives the plugin in plugstack.conf. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

#define PATH_FAULT "needs an absolute path"
#define SECONDS_FAULT "needs a number of seconds, at most 3600"

struct plugin plugin = {
    .socket = BERTH_SOCKET, .command = BERTH_COMMAND, .pull = true, .wait_ms = 5000, .timeout_ms = 120000};

static bool set_seconds(const char* text, int* milliseconds) {
    char* end;
    const long seconds = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || seconds < 0 || seconds > 3600) return false;
    *milliseconds = (int)(seconds * 1000);
    return true;
}

static bool set_path(const char* path, char* place, size_t size) {
    return path[0] == '/' && (size_t)snprintf(place, size, "%s", path) < size;
}

static bool set_pull(const char* word) {
    plugin.pull = strcmp(word, "yes") == 0;
    return plugin.pull || strcmp(word, "no") == 0;
}

/* Why it is none; NULL when it was set. */
static const char* fault_of(const char* argument) {
    static const char* const keys[] = {"socket=", "wait=", "timeout=", "command=", "pull=", "contain="};
    size_t key = 0;
    const size_t count = sizeof keys / sizeof keys[0];
    while (key < count && strncmp(argument, keys[key], strlen(keys[key])) != 0) key++;
    if (key == count) return "is not an argument of spank_berth.so";
    const char* value = argument + strlen(keys[key]);
    switch (key) {
        case 0:
            return set_path(value, plugin.socket, sizeof plugin.socket) ? NULL : PATH_FAULT;
        case 1:
            return set_seconds(value, &plugin.wait_ms) ? NULL : SECONDS_FAULT;
        case 2:
            return set_seconds(value, &plugin.timeout_ms) ? NULL : SECONDS_FAULT;
        case 3:
            return set_path(value, plugin.command, sizeof plugin.command) ? NULL : PATH_FAULT;
        case 4:
            return set_pull(value) ? NULL : "needs yes or no";
        default:
            return parse_containment(value, strlen(value), &plugin.contain)
                       ? NULL
                       : "needs batch, interactive, both with a comma, or none";
    }
}

int arguments_configure(int argc, char** argv) {
    int result = 0;
    for (int i = 0; i < argc; i++) {
        const char* fault = fault_of(argv[i]);
        if (fault == NULL) continue;
        slurm_error("berth: BERTH_CONFIG_INVALID: plugstack.conf: %s %s", argv[i], fault);
        slurm_error(
            "berth:   hint: it takes socket=PATH, wait=SECONDS, timeout=SECONDS, command=PATH, pull=yes|no "
            "and contain=batch,interactive");
        result = -1;
    }
    return result;
}

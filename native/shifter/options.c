#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENV_FILE = 256, ENTRYPOINT };

static const char* take(struct shifter_options* options, int option, char* value) {
    switch (option) {
        case 'i':
            options->image = value;
            return NULL;
        case 'V':
            if (options->volume_count == SHIFTER_MOST_VOLUMES) return "there are too many of them";
            options->volumes[options->volume_count++] = value;
            return NULL;
        case 'm':
            options->module = value;
            return NULL;
        case 'w':
            options->workdir = value;
            return NULL;
        case 'e':
            return berth_variables_add(&options->variables, value);
        case ENV_FILE:
            return berth_variables_read(&options->variables, value);
        case ENTRYPOINT:
            options->by_entrypoint = true;
            options->entrypoint = value == NULL ? "" : value;
            return NULL;
        case 'v': /* nothing more is said */
            return NULL;
        case 'h':
            options->wants_help = true;
            return NULL;
        default:
            return option == ':' ? "it lacks its value" : "there is no such option";
    }
}

int shifter_parse(int argc, char** argv, struct shifter_options* options, struct shifter_fault* fault) {
    static const struct option known[] = {{"image", required_argument, NULL, 'i'},
                                          {"volume", required_argument, NULL, 'V'},
                                          {"module", required_argument, NULL, 'm'},
                                          {"workdir", required_argument, NULL, 'w'},
                                          {"env", required_argument, NULL, 'e'},
                                          {"env-file", required_argument, NULL, ENV_FILE},
                                          {"entrypoint", optional_argument, NULL, ENTRYPOINT},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "+:i:V:m:w:e:vh", known, NULL)) != -1;) {
        const char* word = argv[optind - 1];
        fault->why = take(options, option, optarg);
        fault->option = word;
        if (fault->why != NULL) return -1;
    }
    options->command = argv + optind;
    return 0;
}

bool shifter_next_line(char** at, struct shifter_line* line) {
    if (*at == NULL) {
        const char* text = getenv("SLURM_SPANK_BERTH_OPTIONS");
        *at = text == NULL ? NULL : strdup(text);
    }
    if (*at == NULL || **at == '\0') return false;
    char* name = *at;
    *at += strcspn(name, "\n");
    if (**at == '\n') *(*at)++ = '\0';
    char* equals = strchr(name, '=');
    if (equals != NULL) *equals = '\0';
    *line = (struct shifter_line){.name = name, .value = equals == NULL ? "" : equals + 1};
    return true;
}

void shifter_image_of_job(char* image, unsigned size) {
    const char* shifters = getenv("SHIFTER_IMAGE");
    const char* type = getenv("SHIFTER_IMAGETYPE");
    image[0] = '\0';
    if (shifters != NULL && shifters[0] != '\0') {
        const bool by_id = type != NULL && strcmp(type, "id") == 0 && strncmp(shifters, "id:", 3) != 0;
        snprintf(image, size, "%s%s", by_id ? "id:" : "", shifters);
        return;
    }
    struct shifter_line line;
    for (char* at = NULL; shifter_next_line(&at, &line);) {
        if (strcmp(line.name, "image") == 0 || strcmp(line.name, "container-image") == 0)
            snprintf(image, size, "%s", line.value);
    }
    /* slurm/pin.c: what it was pinned to, a tab, and what it was called. */
    const char* pin = getenv("SLURM_SPANK_BERTH_PIN");
    const char* tab = pin == NULL ? NULL : strchr(pin, '\t');
    if (tab != NULL && image[0] != '\0' && strcmp(tab + 1, image) == 0)
        snprintf(image, size, "%.*s", (int)(tab - pin), pin);
}

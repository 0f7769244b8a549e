/* In srun, salloc and sbatch: what the environment says of options that nobody has given, neither to the
 * command nor to its allocation. Pyxis's variables are among them. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "berth_plugin.h"

struct default_row {
    const char* variable;
    const char* option; /* for a variable that is true, or with its value */
    const char* off;    /* for one that is false */
    bool is_switch;
};

/* Of one slot, the first that is set counts. */
static const struct default_row rows[] = {
    {"BERTH_DEFAULT_IMAGE", "image", NULL, false},
    {"PYXIS_CONTAINER_IMAGE", "container-image", NULL, false},
    {"BERTH_DEFAULT_ENVIRONMENT", "environment", NULL, false},
    {"PYXIS_CONTAINER_NAME", "container-name", NULL, false},
    {"BERTH_DEFAULT_VOLUME", "volume", NULL, false},
    {"PYXIS_CONTAINER_MOUNTS", "container-mounts", NULL, false},
    {"PYXIS_CONTAINER_WORKDIR", "container-workdir", NULL, false},
    {"PYXIS_CONTAINER_SAVE", "container-save", NULL, false},
    {"PYXIS_CONTAINER_MOUNT_HOME", "container-mount-home", "no-container-mount-home", true},
    {"PYXIS_CONTAINER_REMAP_ROOT", "container-remap-root", "no-container-remap-root", true},
    {"PYXIS_CONTAINER_ENTRYPOINT", "container-entrypoint", "no-container-entrypoint", true},
    {"PYXIS_CONTAINER_ENTRYPOINT_LOG", "container-entrypoint-log", NULL, true},
    {"PYXIS_CONTAINER_WRITABLE", "container-writable", "container-readonly", true},
    {"PYXIS_CONTAINER_READONLY", "container-readonly", "container-writable", true},
    {"PYXIS_CONTAINER_ENV", "container-env", NULL, false},
    {"PYXIS_CONTAINER_UNSHARE", "container-unshare", NULL, false},
    {"BERTH_DEFAULT_MODULE", "module", NULL, false},
    {"BERTH_DEFAULT_CONTAIN", "container-contain", NULL, false},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static int refuse(const struct default_row* row, const char* value, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_OPTION, (row->variable, value), (why), ());
    return refuse_option(&failure);
}

/* 1, 0, or -1 when it is neither. */
static int truth(const char* value) {
    static const char* const words[] = {"0", "1", "false", "true", "no", "yes"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(value, words[i]) == 0) return (int)(i % 2);
    }
    return -1;
}

/* What a variable that is set stands for; NULL for nothing, or -1 for nonsense that was told. */
static int meaning_of(const struct default_row* row, const struct option_row** option,
                      const char** argument) {
    const char* value = getenv(row->variable);
    *option = NULL;
    if (value == NULL || value[0] == '\0') return 0;
    const char* name = row->option;
    if (row->is_switch) {
        const int on = truth(value);
        if (on < 0) return refuse(row, value, "it takes 1 or 0, true or false, yes or no");
        if (on == 0) name = row->off;
    }
    *option = name == NULL ? NULL : find_option(name, strlen(name));
    *argument = row->is_switch ? "" : value;
    return 0;
}

static int add_slot(enum slot slot, struct option_lines* lines) {
    const struct default_row* taken = NULL;
    const struct option_row* settled = NULL;
    if (lines_have(lines, slot)) return 0;
    for (size_t i = 0; i < ROWS; i++) {
        const struct default_row* row = &rows[i];
        if (find_option(row->option, strlen(row->option))->slot != slot) continue;
        const struct option_row* option = NULL;
        const char* argument = NULL;
        if (meaning_of(row, &option, &argument) < 0) return -1;
        if (option == NULL) continue;
        if (taken == NULL) {
            const char* fault = lines_add(lines, option, argument);
            if (fault != NULL) return refuse(row, getenv(row->variable), fault);
            taken = row;
            settled = option;
        } else if (row->is_switch && option != settled) {
            return refuse(row, getenv(row->variable), BERTH_TEXT("%s says otherwise", taken->variable));
        }
    }
    return 0;
}

int defaults_add_container(struct option_lines* lines) {
    if (lines_have(lines, SLOT_IMAGE)) return 0;
    const bool named = lines_have(lines, SLOT_NAME);
    if (add_slot(SLOT_IMAGE, lines) < 0) return -1;
    /* An environment file and a name say which container it is to be, if nobody else does. */
    if (named) return 0;
    return add_slot(SLOT_ENVIRONMENT, lines) < 0 ? -1 : add_slot(SLOT_NAME, lines);
}

int defaults_add_rest(struct option_lines* lines) {
    for (enum slot slot = 0; slot < SLOTS; slot++) {
        const bool is_settled = slot == SLOT_IMAGE || slot == SLOT_ENVIRONMENT;
        if (!is_settled && add_slot(slot, lines) < 0) return -1;
    }
    return 0;
}

/* Berth's options for srun, salloc and sbatch: what there is. What a value means is decided by berthd alone
 * (src/options); here it is text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* One thing that can be chosen. Options of the same slot are spellings of it, or contradict each other: one
 * command gives one of them, and that takes the place of whatever the command inherits for the slot. */
enum slot {
    SLOT_IMAGE,
    SLOT_MOUNTS,
    SLOT_WORKDIR,
    SLOT_NAME,
    SLOT_SAVE,
    SLOT_MOUNT_HOME,
    SLOT_REMAP_ROOT,
    SLOT_ENTRYPOINT,
    SLOT_ENTRYPOINT_LOG,
    SLOT_WRITABLE,
    SLOT_ENV,
    SLOT_VARIABLES,
    SLOT_UNSHARE,
    SLOT_MODULE,
    SLOT_ENVIRONMENT,
    SLOT_CONTAIN,
    SLOTS,
};

/* As spank.h has it in has_arg. */
enum takes { NO_VALUE, ONE_VALUE, PERHAPS_A_VALUE };

struct option_row {
    const char* name;     /* on the command line, after the dashes */
    const char* argument; /* what --help calls its value */
    const char* help;     /* NULL for what only environment files say */
    enum slot slot;
    enum takes takes;
    bool repeats; /* several values add up */
};

enum { OPTION_ROWS = 23, LONGEST_IMAGE = 4095 };
extern const struct option_row option_rows[OPTION_ROWS];

/* The option of that name, `length` characters long; NULL when there is none. */
const struct option_row* find_option(const char* name, size_t length);

/* What is wrong with a value of this option, as an error's "why", or NULL. */
const char* value_fault(const struct option_row* row, const char* value, size_t length);

/* Is the slot for the plugin itself, and of no meaning to berthd's containers? */
static inline bool is_for_plugin(enum slot slot) {
    return slot == SLOT_IMAGE || slot == SLOT_ENVIRONMENT || slot == SLOT_CONTAIN;
}

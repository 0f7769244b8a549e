#include "contain.h"

#include <string.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

bool parse_containment(const char* list, size_t length, struct containment* containment) {
    *containment = (struct containment){0};
    if (length == 4 && memcmp(list, "none", length) == 0) return true;
    for (const char* end = list + length;; list++) {
        const char* comma = memchr(list, ',', (size_t)(end - list));
        const size_t word = (size_t)((comma != NULL ? comma : end) - list);
        if (word == strlen("batch") && memcmp(list, "batch", word) == 0) {
            containment->batch = true;
        } else if (word == strlen("interactive") && memcmp(list, "interactive", word) == 0) {
            containment->interactive = true;
        } else {
            return false;
        }
        if (comma == NULL) return true;
        list = comma;
    }
}

bool step_is_contained(spank_t spank) {
    if (!plugin.has_container && plugin.fault == NULL) return false;
    uint32_t step = 0;
    if (spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS) return true;
    switch (step) {
        case SLURM_EXTERN_CONT:
            return false;
        case SLURM_BATCH_SCRIPT:
            return plugin.contain.batch;
        case SLURM_INTERACTIVE_STEP:
            return plugin.contain.interactive;
        default:
            return true;
    }
}

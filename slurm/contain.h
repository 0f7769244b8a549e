/* What of a job is in its container beside the steps of its sruns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct containment {
    bool batch;       /* the batch script */
    bool interactive; /* the shell of a salloc (LaunchParameters=use_interactive_step) */
};

/* Reads "batch", "interactive", both with a comma between, or "none". False when it is something else. */
bool parse_containment(const char* list, size_t length, struct containment* containment);

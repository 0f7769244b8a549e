/* Berth's options as Slurm has them: it is told of them here, and tells their values here. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

/* On a node: what Slurm forwarded. It keeps of each option the last value only. */
static struct option_lines forwarded;

int refuse_option(const struct berth_failure* failure) {
    slurm_error("berth: %s: %s", failure->code, failure->what);
    slurm_error("berth:   why: %s", failure->why);
    slurm_error("berth:   hint: %s", failure->hint);
    return -1;
}

static int set_option(int index, const char* argument, int remote) {
    const struct option_row* row = &option_rows[index];
    const char* value = argument != NULL && row->takes != NO_VALUE ? argument : "";
    if (!remote && row->slot == SLOT_CONTAIN && strcmp(program_invocation_short_name, "srun") == 0) {
        struct berth_failure failure;
        BERTH_FAIL(&failure, BERTH_OPTION, ("--container-contain", value),
                   ("srun starts steps, which are in the container anyway: it is for sbatch and salloc"), ());
        return refuse_option(&failure);
    }
    if (!remote) return choice_remember(row, value);
    /* In slurmstepd a refusal would drain the node. */
    lines_add(&forwarded, row, value);
    return 0;
}

static struct spank_option as_slurm_has_it(size_t index) {
    const struct option_row* row = &option_rows[index];
    return (struct spank_option){.name = (char*)row->name,
                                 .arginfo = (char*)row->argument,
                                 .usage = (char*)row->help,
                                 .has_arg = (int)row->takes,
                                 .val = (int)index,
                                 .cb = set_option};
}

int options_register(spank_t spank) {
    const spank_context_t context = spank_context();
    const bool submits = context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR;
    if (submits && choice_begin() < 0) return -1;
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        if (option_rows[i].help == NULL) continue;
        struct spank_option option = as_slurm_has_it(i);
        if (spank_option_register(spank, &option) != ESPANK_SUCCESS) return -1;
    }
    return 0;
}

const char* command_line(size_t* length) {
    static char words[256 * 1024];
    BERTH_FD file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    const ssize_t count = file < 0 ? -1 : read(file, words, sizeof words - 1);
    *length = count > 0 ? (size_t)count : 0;
    words[*length] = '\0';
    return words;
}

/* srun looks for the program on the submit host when it is to copy it (--bcast, SLURM_BCAST) and fails there,
 * without a word of containers. The option stands in srun's own command line, which the kernel shows. */
static bool asks_for_bcast(void) {
    if (getenv("SLURM_BCAST") != NULL) return true;
    size_t length;
    const char* words = command_line(&length);
    for (const char* word = words; word < words + length; word += strlen(word) + 1) {
        if (strcmp(word, "--") == 0) return false;
        if (strcmp(word, "--bcast") == 0 || strncmp(word, "--bcast=", 8) == 0) return true;
    }
    return false;
}

void options_warn(void) {
    if (!plugin.has_container || !asks_for_bcast()) return;
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_TEST_EXEC, (), ("--bcast copies the program from here to the nodes"), ());
    slurm_info("berth: %s: %s: %s", failure.code, failure.what, failure.why);
    slurm_info("berth:   hint: %s", failure.hint);
}

const struct option_lines* options_forwarded(void) {
    return &forwarded;
}

const struct option_lines* options_of_job(spank_t spank) {
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        if (option_rows[i].help == NULL) continue;
        struct spank_option option = as_slurm_has_it(i);
        char* argument = NULL;
        if (spank_option_getopt(spank, &option, &argument) == ESPANK_SUCCESS) set_option((int)i, argument, 1);
    }
    return &forwarded;
}

/* In srun, salloc and sbatch: which image a command asks for, when it is told more than one. Slurm hands a
 * plugin the values one by one, and to the nodes the last of each option, so what it would get wrong is
 * refused or mended here: a program must not run in another place than its part of the command line says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/slurm.h>

#include "berth_plugin.h"

/* Where Slurm keeps an allocation's options for the sruns in it, twice (plugstack.c, Slurm 22.05 to 25.11).
 */
static const char* const inherited_image[] = {
    "_SLURM_SPANK_OPTION_berth_image",
    "SLURM_SPANK__SLURM_SPANK_OPTION_berth_image",
};
static const char* const inherited_container_image[] = {
    "_SLURM_SPANK_OPTION_berth_container_image",
    "SLURM_SPANK__SLURM_SPANK_OPTION_berth_container_image",
};

/* The allocation's, empty for none. Slurm puts this command's own into the same place later. */
static char inherited[sizeof plugin.image];

/* Components whose options are known. */
static unsigned settled;

/* What stands in this command's own command line. */
static struct {
    unsigned count;
    int option;
    char image[sizeof plugin.image];
} chosen;

void choice_inherit(void) {
    for (size_t i = 0; i < sizeof inherited_image / sizeof inherited_image[0]; i++) {
        const char* image = getenv(inherited_container_image[i]);
        if (image == NULL) continue;
        setenv(inherited_image[i], image, 1);
        unsetenv(inherited_container_image[i]);
    }
    /* A batch script has only the second. */
    const char* image = getenv(inherited_image[0]);
    if (image == NULL) image = getenv(inherited_image[1]);
    if (image != NULL) snprintf(inherited, sizeof inherited, "%s", image);
}

/* The components of a heterogeneous command are separated by words ":". */
static unsigned count_components(void) {
    static char words[16384];
    unsigned count = 1;
    const ssize_t length = read_command_line(words, sizeof words);
    if (length <= 0) return count;
    for (const char* word = words; word < words + length; word += strlen(word) + 1) {
        if (strcmp(word, ":") == 0) count++;
    }
    return count;
}

static int refuse(const char* one, const char* other, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_OPTION, ("--image", BERTH_TEXT("both %s and %s", one, other)), (why), ());
    return refuse_option(&failure);
}

static const char one_for_all[] =
    "Slurm would use the same for the whole command: give each component a command of its own";

int choice_remember(int option, const char* argument) {
    /* Slurm brings the inherited value once for each component, and does not say so. */
    if (strcmp(inherited, argument) == 0) return 0;
    /* Components of a batch script are not in the command line ("#SBATCH hetjob"): the first's options are
     * all's. */
    if (settled > 0 && chosen.count == 0 && count_components() == 1)
        return refuse(BERTH_IMAGE_NONE, argument, one_for_all);
    if (chosen.count > 0 && strcmp(chosen.image, argument) != 0) {
        if (settled > 0 || count_components() > 1) return refuse(chosen.image, argument, one_for_all);
        if (option != chosen.option)
            return refuse(chosen.image, argument,
                          "--container-image is the same option: use one of the names");
    }
    chosen.count++;
    chosen.option = option;
    snprintf(chosen.image, sizeof chosen.image, "%s", argument);
    return 0;
}

bool choice_is_own(void) {
    return chosen.count > 0;
}

int choice_settle(void) {
    /* Called once for each component. */
    const unsigned components = count_components();
    if (++settled < components || inherited[0] == '\0') return 0;
    const bool some_inherit = chosen.count > 0 && chosen.count < components;
    return some_inherit ? refuse(inherited, chosen.image, one_for_all) : 0;
}

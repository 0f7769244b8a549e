/* Another SPANK plugin with options that Berth has too, as Pyxis is one: it fails where they cannot be
 * registered, and says which it is given. */
#include <stdint.h>

#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <slurm/spank.h>

SPANK_PLUGIN(other, 1)

static int given(int index, const char* argument, int remote) {
    (void)index;
    if (!remote) slurm_info("other: %s", argument);
    return 0;
}

int slurm_spank_init(spank_t spank, int argc, char** argv) {
    (void)argc;
    (void)argv;
    static char* const names[] = {"container-image", "container-mounts", "container-workdir"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct spank_option option = {
            .name = names[i], .arginfo = "X", .usage = "", .has_arg = 1, .cb = given};
        if (spank_option_register(spank, &option) != ESPANK_SUCCESS) return -1;
    }
    return 0;
}

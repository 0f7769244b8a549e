/* spank_berth_prolog.so: has berthd build a job's container in the prolog, where the site wants that ([slurm]
 * prepare). A plugin of its own, because for any plugin with a prolog callback Slurm runs `slurmstepd spank
 * prolog` on each node before each job, with or without a container, and waits for it: some 10 ms. */
#include "berth_plugin.h"

/* The name is that of spank_berth.so: by it Slurm finds the option that the user gave there. */
#pragma GCC visibility push(default)
SPANK_PLUGIN(berth, 1)
#pragma GCC visibility pop

int slurm_spank_job_prolog(spank_t spank, int argc, char** argv) {
    arguments_configure(argc, argv);
    return job_prolog(spank);
}

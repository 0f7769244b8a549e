/* spank_berth.so: how Slurm asks Berth for containers. Only the dispatch is here; see berth_plugin.h.
 *
 * Slurm drains the node when a required plugin fails anywhere but in the two task_init callbacks (slurmd's
 * _rpc_batch_job and prolog handling, Slurm 22.05 to 25.11), so every other callback here returns 0 whatever
 * happens in slurmd and slurmstepd, and leaves the reporting to the ranks. */
#include "berth_plugin.h"

#pragma GCC visibility push(default)
SPANK_PLUGIN(berth, 1)
#pragma GCC visibility pop

static bool in_slurmstepd(void) {
    return spank_context() == S_CTX_REMOTE;
}

int slurm_spank_init(spank_t spank, int argc, char** argv) {
    const int configured = arguments_configure(argc, argv);
    const int registered = options_register(spank);
    const spank_context_t context = spank_context();
    if (context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR)
        return configured < 0 || registered < 0 ? -1 : 0;
    return 0;
}

int slurm_spank_init_post_opt(spank_t spank, int argc, char** argv) {
    (void)argc;
    (void)argv;
    const spank_context_t context = spank_context();
    if (in_slurmstepd()) {
        forward_receive_step(spank);
        if (step_is_contained(spank)) step_ask_early(spank);
    }
    if (context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR) return 0;
    static struct option_lines settled;
    if (choice_settle(&settled) < 0) return -1;
    forward_send(spank, &settled);
    if (context == S_CTX_LOCAL) options_warn();
    return pin_settle(spank);
}

int slurm_spank_user_init(spank_t spank, int argc, char** argv) {
    (void)spank;
    (void)argc;
    (void)argv;
    if (in_slurmstepd()) {
        step_await_answer();
        save_step_begins();
    }
    return 0;
}

int slurm_spank_task_init_privileged(spank_t spank, int argc, char** argv) {
    (void)argc;
    (void)argv;
    return step_is_contained(spank) ? task_init_privileged(spank) : 0;
}

int slurm_spank_task_init(spank_t spank, int argc, char** argv) {
    (void)argc;
    (void)argv;
    return step_is_contained(spank) ? task_init(spank) : 0;
}

int slurm_spank_task_exit(spank_t spank, int argc, char** argv) {
    (void)argc;
    (void)argv;
    if (step_is_contained(spank)) save_task_exit(spank);
    return 0;
}

int slurm_spank_job_epilog(spank_t spank, int argc, char** argv) {
    arguments_configure(argc, argv);
    return job_epilog(spank);
}

int slurm_spank_exit(spank_t spank, int argc, char** argv) {
    (void)spank;
    (void)argc;
    (void)argv;
    if (in_slurmstepd()) step_close();
    return 0;
}

/* In srun, salloc and sbatch: what takes more than the plugin does is done by the `berth` command, which is
 * the user's own process like these, on the user's terminal. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "berth_plugin.h"

enum { STATUS_NOT_STARTED = 127, LOOK_MS = 100 };

static void free_list(char*** list) {
    free(*list);
}

/* Between fork and exec: nothing that allocates. Slurm's commands may ignore or block signals by which a user
 * ends the command. */
static _Noreturn void become_berth(pid_t parent, char* const* arguments, char* const* environment,
                                   int output) {
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0 && dup2(nothing, STDIN_FILENO) == STDIN_FILENO &&
        dup2(output, STDOUT_FILENO) == STDOUT_FILENO &&
        prctl(PR_SET_PDEATHSIG, (unsigned long)SIGTERM, 0UL, 0UL, 0UL) == 0 && getppid() == parent)
        execve(plugin.command, arguments, environment);
    _exit(STATUS_NOT_STARTED);
}

static void restore_mask(const sigset_t* mask) {
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* Waits for the command's end, and hands on what should end this process meanwhile. A terminal's own signals
 * have reached both. Slurm's commands block these signals, so that they would come only when the command
 * is over. */
static int await_berth(pid_t child, int* status) {
    static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    sigset_t signals;
    sigset_t before __attribute__((cleanup(restore_mask)));
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) sigaddset(&signals, ending[i]);
    sigprocmask(SIG_BLOCK, &signals, &before);
    for (;;) {
        const pid_t ended = waitpid(child, status, WNOHANG);
        if (ended == child) return 0;
        if (ended < 0 && errno != EINTR) return -1;
        const struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
        siginfo_t about;
        const int number = sigtimedwait(&signals, &about, &look);
        if (number > 0 && about.si_code != SI_KERNEL) kill(child, number);
    }
}

enum command_result run_berth(char* const* arguments, int* output) {
    extern char** environ;
    static char socket[sizeof plugin.socket + 16];
    size_t count = 0;
    while (environ[count] != NULL) count++;
    char** environment __attribute__((cleanup(free_list))) = calloc(count + 2, sizeof *environment);
    if (environment == NULL) return COMMAND_NOT_STARTED;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "BERTH_SOCKET=", strlen("BERTH_SOCKET=")) != 0)
            environment[kept++] = environ[i];
    }
    snprintf(socket, sizeof socket, "BERTH_SOCKET=%s", plugin.socket);
    environment[kept] = socket;
    /* A file, not a pipe: nobody has to read it while the command runs. */
    BERTH_FD file = output != NULL ? memfd_create("berth", MFD_CLOEXEC) : -1;
    if (output != NULL && file < 0) return COMMAND_NOT_STARTED;

    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child < 0) return COMMAND_NOT_STARTED;
    if (child == 0) become_berth(parent, arguments, environment, output != NULL ? file : STDERR_FILENO);
    int status = 0;
    if (await_berth(child, &status) < 0) return COMMAND_FAILED;
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NOT_STARTED) return COMMAND_NOT_STARTED;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return COMMAND_FAILED;
    if (output != NULL) *output = berth_take(&file);
    return COMMAND_DONE;
}

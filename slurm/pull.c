/* In srun, salloc and sbatch: an image that the store has not is pulled by `berth pull`, which is the user's
 * own process like these, on the user's terminal. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
 * ends a pull, and what sbatch prints belongs to the scripts that read it. */
static _Noreturn void become_pull(pid_t parent, char* const* arguments, char* const* environment) {
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0 && dup2(nothing, STDIN_FILENO) == STDIN_FILENO &&
        dup2(STDERR_FILENO, STDOUT_FILENO) == STDOUT_FILENO &&
        prctl(PR_SET_PDEATHSIG, (unsigned long)SIGTERM, 0UL, 0UL, 0UL) == 0 && getppid() == parent)
        execve(plugin.command, arguments, environment);
    _exit(STATUS_NOT_STARTED);
}

static void restore_mask(const sigset_t* mask) {
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* Waits for the pull's end, and hands on what should end this process meanwhile. A terminal's own signals
 * have reached both. Slurm's commands block these signals, so that they would come only when the pull is
 * over. */
static int await_pull(pid_t child, int* status) {
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

enum pull_result pull_image(void) {
    extern char** environ;
    static char socket[sizeof plugin.socket + 16];
    size_t count = 0;
    while (environ[count] != NULL) count++;
    char** environment __attribute__((cleanup(free_list))) = calloc(count + 2, sizeof *environment);
    if (environment == NULL) return PULL_NOT_STARTED;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "BERTH_SOCKET=", strlen("BERTH_SOCKET=")) != 0)
            environment[kept++] = environ[i];
    }
    snprintf(socket, sizeof socket, "BERTH_SOCKET=%s", plugin.socket);
    environment[kept] = socket;
    /* A reference that begins like an option is none. */
    char* const arguments[] = {(char*)"berth", (char*)"pull", (char*)"--", plugin.image, NULL};

    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child < 0) return PULL_NOT_STARTED;
    if (child == 0) become_pull(parent, arguments, environment);
    int status = 0;
    if (await_pull(child, &status) < 0) return PULL_FAILED;
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NOT_STARTED) return PULL_NOT_STARTED;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? PULL_DONE : PULL_FAILED;
}

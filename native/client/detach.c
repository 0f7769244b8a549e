/* `berth run --detach`. The process that asks berthd for the container stays beside it, outside: it keeps
 * what the programs print, hands signals on, and ends when the last of them has. berthd knows the container
 * by it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "run.h"
#include "start.h"
#include "stop.h"

/* The signals that are handed on to the program. */
static const int handed_on[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
enum {
    HANDED_ON = sizeof handed_on / sizeof handed_on[0],
    /* Killed ones hand over their children, who are to be killed too. */
    KILL_AGAIN_MS = 5,
};

static int failed(const char* call) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_RUN_FAILED, ("the program could not be started", berth_host()),
               (BERTH_TEXT("%s: %s", call, strerror(errno))), ());
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

struct background {
    pid_t program; /* 0 when it has ended */
    int status;    /* then: as waitpid(2) has it */
    int output;    /* a pipe's end, or -1 */
    bool killing;  /* all that is left is to be killed */
    struct berth_log log;
};

static void close_background(struct background* background) {
    berth_close(&background->output);
    berth_log_close(&background->log);
}
#define BACKGROUND __attribute__((cleanup(close_background))) struct background

/* All that the program has started and left are children of this process: it is their subreaper. */
static void signal_children(int number) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE* children = fopen(path, "re");
    if (children == NULL) return;
    char text[16];
    while (fscanf(children, "%15s", text) == 1) kill((pid_t)strtol(text, NULL, 10), number);
    fclose(children);
}

static void handle(struct background* background, const struct signalfd_siginfo* signal) {
    const int number = (int)signal->ssi_signo;
    if (number == SIGCHLD) return;
    if (number == SIGTERM && signal->ssi_code == SI_QUEUE && signal->ssi_int == BERTH_STOP_NOW)
        background->killing = true;
    else if (background->program != 0)
        kill(background->program, number);
    else
        signal_children(number);
}

/* Takes ended children off the process table. False when there are none left. */
static bool reap(struct background* background) {
    for (;;) {
        int status = 0;
        const pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended < 0 && errno == EINTR) continue;
        if (ended <= 0) return ended == 0;
        if (ended != background->program) continue;
        background->program = 0;
        background->status = status;
        berth_log_end(&background->log, status);
    }
}

/* Takes what the programs have printed. False at the end of it. */
static bool take_output(struct background* background) {
    char bytes[16 * 1024];
    const ssize_t got = read(background->output, bytes, sizeof bytes);
    if (got > 0) berth_log_write(&background->log, bytes, (size_t)got);
    return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

static void attend(struct background* background, int signals) {
    do {
        struct pollfd ready[] = {{.fd = signals, .events = POLLIN},
                                 {.fd = background->output, .events = POLLIN}};
        if (poll(ready, 2, background->killing ? KILL_AGAIN_MS : -1) < 0 && errno != EINTR) return;
        if (ready[1].revents != 0 && !take_output(background)) berth_close(&background->output);
        struct signalfd_siginfo signal;
        if (ready[0].revents != 0 && read(signals, &signal, sizeof signal) == (ssize_t)sizeof signal)
            handle(background, &signal);
        if (background->killing) signal_children(SIGKILL);
    } while (reap(background));
    /* The last words; what another process that has the pipe may still print is not waited for. */
    if (background->output < 0 || fcntl(background->output, F_SETFL, O_NONBLOCK) < 0) return;
    struct pollfd more = {.fd = background->output, .events = POLLIN};
    while (poll(&more, 1, 0) > 0 && take_output(background)) continue;
}

/* The program's process, until it becomes that. `told` is closed by the exec: so it is known to have been
 * started. */
static _Noreturn void begin_program(const struct berth_run* run, struct berth_ran* ran, pid_t parent,
                                    int output, int told) {
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int words = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int status = BERTH_STATUS_FAILED;
    if (nothing < 0 || words < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0) {
        status = failed("dup2");
    } else {
        berth_print_on(words);
        status = berth_run_enter(run, ran, parent);
    }
    const unsigned char code = (unsigned char)status;
    _exit(write(told, &code, 1) == 1 ? status : BERTH_STATUS_FAILED);
}

/* 0 when whoever writes to the pipe has closed it without a word, else what it said, or -1. */
static int hear(int pipe) {
    unsigned char code = 0;
    ssize_t got = 0;
    do got = read(pipe, &code, 1);
    while (got < 0 && errno == EINTR);
    return got == 0 ? 0 : got == 1 ? code : -1;
}

/* Starts the program. 0, or an exit status after telling the user. */
static int start_program(const struct berth_run* run, struct berth_ran* ran, struct background* background,
                         const sigset_t* mask) {
    int output[2];
    int told[2];
    if (pipe2(output, O_CLOEXEC) < 0) return failed("pipe2");
    BERTH_FD write_end = output[1];
    background->output = output[0];
    if (pipe2(told, O_CLOEXEC) < 0) return failed("pipe2");
    BERTH_FD hears = told[0];
    BERTH_FD tells = told[1];
    const pid_t parent = getpid();
    background->program = fork();
    if (background->program < 0) return failed("fork");
    if (background->program == 0) {
        sigprocmask(SIG_SETMASK, mask, NULL);
        begin_program(run, ran, parent, write_end, tells);
    }
    berth_close(&tells);
    berth_close_descriptors(&ran->namespaces);
    const int status = hear(hears);
    return status < 0 ? failed("read") : status;
}

/* Lets go of the terminal, and of whoever waits for the end of what is printed there. */
static int leave(void) {
    BERTH_FD nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    const bool left = nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(nothing, STDOUT_FILENO) >= 0 &&
                      dup2(nothing, STDERR_FILENO) >= 0 && chdir("/") == 0;
    return left ? 0 : -1;
}

/* What stays in the background, from the beginning on. Tells its parent, once, how the start has gone. */
static int stay(const struct berth_run* run, int told) {
    static struct berth_ran ran;
    BACKGROUND background = {.output = -1, .log = {.directory = -1, .file = -1, .status = -1}};
    sigset_t signals;
    sigset_t mask;
    struct berth_failure failure;
    int status = berth_run_prepare(run, &ran);
    if (status != 0) return status;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    for (size_t i = 0; i < HANDED_ON; i++) sigaddset(&signals, handed_on[i]);
    sigprocmask(SIG_BLOCK, &signals, &mask);
    BERTH_FD heard = signalfd(-1, &signals, SFD_CLOEXEC);
    if (heard < 0) return failed("signalfd");
    if (setsid() < 0) return failed("setsid");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL) < 0) return failed("prctl");
    if (berth_log_begin(&background.log, ran.reply.container_id, run->name, &failure) < 0)
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    status = start_program(run, &ran, &background, &mask);
    if (status != 0) return status;
    printf("%s\n", ran.reply.container_id);
    fflush(stdout);
    if (leave() < 0 || write(told, "", 1) != 1) return failed("dup2");
    berth_close(&told);
    attend(&background, heard);
    return 0;
}

int berth_run_detached(const struct berth_run* run) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return failed("pipe2");
    BERTH_FD hears = ends[0];
    BERTH_FD tells = ends[1];
    const pid_t child = fork();
    if (child < 0) return failed("fork");
    if (child == 0) {
        berth_close(&hears);
        exit(stay(run, tells));
    }
    berth_close(&tells);
    unsigned char started = 0;
    ssize_t got = 0;
    do got = read(hears, &started, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1) return 0;
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return failed("waitpid");
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : BERTH_STATUS_FAILED;
}

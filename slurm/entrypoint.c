/* A rank has the image's entrypoint run before its program, and takes over what that prepared: environment,
 * directory and umask. Why before, and not around it: docs/adr/0017. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../native/entrypoint/report.h"
#include "berth_plugin.h"
#include "waiting.h"

enum {
    /* Shells use the descriptors up to 9 for their scripts. */
    LOWEST_DESCRIPTOR = 10,
    STATUS_NOT_STARTED = 127,
};

/* Variables that no entrypoint may change: how Slurm and MPI have launched the program. */
static const char* const launchers[] = {"SLURM", "SPANK_", "PMI_", "PMI2_", "PMIX_", "BERTH_"};

/* Variables of the shell that ran the entrypoint. */
static const char* const of_shell[] = {"_", "OLDPWD", "SHLVL"};

static bool is_kept(const char* name) {
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++) {
        if (strncmp(name, launchers[i], strlen(launchers[i])) == 0) return true;
    }
    for (size_t i = 0; i < sizeof of_shell / sizeof of_shell[0]; i++) {
        if (strcmp(name, of_shell[i]) == 0) return true;
    }
    return false;
}

/* The report as it comes in. */
static struct {
    struct entrypoint_report head;
    char body[ENTRYPOINT_MOST_BYTES + 1];
    size_t have; /* of both */
} received;

static int failed(const char* why, struct berth_failure* failure) {
    return BERTH_FAIL(failure, BERTH_ENTRYPOINT, (berth_host()), (why), ());
}

static int call_failed(const char* call, struct berth_failure* failure) {
    return failed(BERTH_TEXT("%s: %s", call, strerror(errno)), failure);
}

/* Between fork and exec: nothing that allocates. The program's standard input is not the entrypoint's to
 * read. */
static _Noreturn void become_entrypoint(pid_t parent, int report, char* const* arguments,
                                        char* const* environment, bool shows_output) {
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const int nothing = open("/dev/null", O_RDWR);
    if (nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
        (shows_output || (dup2(nothing, STDOUT_FILENO) >= 0 && dup2(nothing, STDERR_FILENO) >= 0)) &&
        (nothing <= STDERR_FILENO || close(nothing) == 0) && fcntl(report, F_SETFD, 0) == 0 &&
        prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL) == 0 && getppid() == parent)
        execve(ENTRYPOINT_HELPER, arguments, environment);
    _exit(STATUS_NOT_STARTED);
}

static size_t wanted(void) {
    const size_t head = sizeof received.head;
    return received.have < head ? head : head + received.head.length;
}

/* Takes what is there of the report. 0 at its end, 1 when more may come, -1 with errno. */
static int receive(int pipe) {
    while (received.have < wanted()) {
        char* at = received.have < sizeof received.head
                       ? (char*)&received.head + received.have
                       : received.body + received.have - sizeof received.head;
        const ssize_t got = read(pipe, at, wanted() - received.have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno == EAGAIN ? 1 : -1;
        if (got == 0) return 0;
        received.have += (size_t)got;
        if (received.have == sizeof received.head && received.head.length > ENTRYPOINT_MOST_BYTES) {
            errno = EMSGSIZE;
            return -1;
        }
    }
    return 0;
}

/* Waits for the entrypoint's end, and takes its report meanwhile. What it leaves running in the background
 * may have the pipe as well, so that does not have to end. */
static int await_end(pid_t child, int pipe, int* status, struct berth_failure* failure) {
    BERTH_FD process = (int)syscall(SYS_pidfd_open, child, 0);
    if (process < 0) return call_failed("pidfd_open", failure);
    bool may_come = true;
    for (;;) {
        struct pollfd ready[] = {{.fd = process, .events = POLLIN},
                                 {.fd = may_come ? pipe : -1, .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR) return call_failed("poll", failure);
        if (may_come && (ready[0].revents | ready[1].revents) != 0) {
            const int more = receive(pipe);
            if (more < 0) return call_failed("read", failure);
            may_come = more > 0;
        }
        if (ready[0].revents == 0) continue;
        while (waitpid(child, status, 0) < 0) {
            if (errno != EINTR) return call_failed("waitpid", failure);
        }
        return 0;
    }
}

static int explain(int status, struct berth_failure* failure) {
    if (received.have == wanted() && received.head.result == ENTRYPOINT_FAILED)
        return failed(received.body, failure);
    if (WIFSIGNALED(status))
        return failed(BERTH_TEXT("it was ended by signal %d", WTERMSIG(status)), failure);
    if (WEXITSTATUS(status) != 0)
        return failed(BERTH_TEXT("it ended with status %d", WEXITSTATUS(status)), failure);
    return failed("it ended without running the command it was given", failure);
}

/* The next text of the report; NULL at its end. */
static char* next_text(char** at) {
    char* text = *at;
    if (text >= received.body + received.head.length) return NULL;
    *at = text + strlen(text) + 1;
    return text;
}

static bool report_has(char* variables, const char* name, size_t length) {
    for (char* text; (text = next_text(&variables)) != NULL;) {
        if (strncmp(text, name, length) == 0 && text[length] == '=') return true;
    }
    return false;
}

/* Removes what the entrypoint has removed. */
static void unset_missing(spank_t spank, char* const* environment, char* variables) {
    for (size_t i = 0; environment[i] != NULL;) {
        const char* variable = environment[i];
        char name[256];
        const size_t length = strcspn(variable, "=");
        snprintf(name, sizeof name, "%.*s", (int)length, variable);
        if (length < sizeof name && !is_kept(name) && !report_has(variables, name, length))
            spank_unsetenv(spank, name);
        /* Slurm moves those that follow into the gap. */
        if (environment[i] == variable) i++;
    }
}

static int take_over(spank_t spank, char* const* environment, struct berth_failure* failure) {
    received.body[received.head.length] = '\0';
    char* at = received.body;
    const char* directory = next_text(&at);
    const char* mask = directory != NULL ? next_text(&at) : NULL;
    if (mask == NULL) return failed("its report has no end", failure);
    if (chdir(directory) < 0) return call_failed("chdir", failure);
    umask((mode_t)strtoul(mask, NULL, 8) & 0777);
    unset_missing(spank, environment, at);
    for (char* text; (text = next_text(&at)) != NULL;) {
        char* equals = strchr(text, '=');
        if (equals == NULL || equals == text) continue;
        *equals = '\0';
        if (!is_kept(text) && spank_setenv(spank, text, equals + 1, 1) != ESPANK_SUCCESS)
            return failed("the environment that it left cannot be set", failure);
    }
    return 0;
}

int entrypoint_run(spank_t spank, bool shows_output, struct berth_failure* failure) {
    char** environment = NULL;
    int ends[2];
    if (spank_get_item(spank, S_JOB_ENV, &environment) != ESPANK_SUCCESS || environment == NULL)
        return failed("Slurm does not give the environment", failure);
    if (pipe2(ends, O_CLOEXEC) < 0) return call_failed("pipe2", failure);
    BERTH_FD read_end = ends[0];
    BERTH_FD write_end = ends[1];
    BERTH_FD report = fcntl(write_end, F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR);
    if (report < 0 || fcntl(read_end, F_SETFL, O_NONBLOCK) < 0) return call_failed("fcntl", failure);
    char number[16];
    snprintf(number, sizeof number, "%d", report);
    char* const arguments[] = {(char*)ENTRYPOINT_HELPER, (char*)ENTRYPOINT_START, number, NULL};

    const pid_t parent = getpid();
    WAITING waiting;
    begin_waiting(&waiting);
    const pid_t child = fork();
    if (child < 0) return call_failed("fork", failure);
    if (child == 0) become_entrypoint(parent, report, arguments, environment, shows_output);
    berth_close(&write_end);
    berth_close(&report);
    int status = 0;
    if (await_end(child, read_end, &status, failure) < 0) return -1;
    const bool prepared = received.have >= sizeof received.head && received.have == wanted() &&
                          received.head.result == ENTRYPOINT_PREPARED && WIFEXITED(status) &&
                          WEXITSTATUS(status) == 0;
    return prepared ? take_over(spank, environment, failure) : explain(status, failure);
}

/* A container of the user's own, and a program in it. In the foreground this process becomes the program:
 * its signals, terminal and exit status need nobody between. berthd knows by a pidfd when it has ended. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../entrypoint/report.h"
#include "start.h"

enum {
    /* berthd decides how long a build may take ([container] build_timeout); it says often that it is alive.
     */
    TIMEOUT_MS = 3700 * 1000,
    PATIENCE_MS = 2000,
    MOST_WORDS = 1024,
};

const char* berth_run_add(struct berth_run* run, const char* name, const char* value) {
    if (run->count == BERTH_MOST_RUN_OPTIONS) return "there are too many options";
    run->list[run->count++] = (struct berth_option){.name = name, .value = value};
    return NULL;
}

static bool is_path(const char* image) {
    return image[0] == '/' || strncmp(image, "./", 2) == 0 || strncmp(image, "../", 3) == 0;
}

const char* berth_run_set_image(struct berth_run* run, const char* image) {
    char here[PATH_MAX] = "";
    const bool is_relative = is_path(image) && image[0] != '/';
    if (is_relative && getcwd(here, sizeof here) == NULL) return strerror(errno);
    const int length = snprintf(run->image, sizeof run->image, "%s%s%s", here, is_relative ? "/" : "", image);
    return (size_t)length >= sizeof run->image ? "it is longer than a name or path can be" : NULL;
}

/* Is it a name, of an image that is missing? What others share, and what only a digest names, is in no
 * registry. */
static bool is_pullable(const char* image, const struct berth_failure* failure) {
    static const char* const elsewhere[] = {"sha256:", "id:", "user:"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        if (strncasecmp(image, elsewhere[i], strlen(elsewhere[i])) == 0) return false;
    }
    return !is_path(image) && strcmp(failure->code, "BERTH_IMAGE_UNKNOWN") == 0;
}

/* `berth pull`, which has shown the user its own errors. What it prints does not mix with the program's. */
static bool pull(const struct berth_run* run) {
    const pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) {
        const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
        char* const arguments[] = {(char*)"berth", (char*)"pull", (char*)"--", (char*)run->image, NULL};
        if (nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 &&
            setenv("BERTH_SOCKET", run->socket, 1) == 0)
            execv("/proc/self/exe", arguments);
        _exit(BERTH_STATUS_FAILED);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return false;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Ranks all ask at once: then berthd pulls, once for all. Which job this is, it finds out by itself. */
static bool is_rank(void) {
    return getenv("SLURM_PROCID") != NULL && getenv("SLURM_STEP_ID") != NULL;
}

static int ask(const struct berth_run* run, struct berth_ran* ran, struct berth_failure* failure) {
    static berth_v1_Reply reply;
    static berth_v1_Request request;
    request = (berth_v1_Request)berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_run_tag;
    snprintf(request.body.run.image, sizeof request.body.run.image, "%s", run->image);
    const struct berth_options options = {.list = run->list, .count = run->count};
    berth_request_options(&request.body.run.options, &options);
    request.body.run.alone = run->detached;
    request.body.run.pull = is_rank() && !run->never_pull;
    BERTH_FD connection = berth_connect(run->socket, PATIENCE_MS, failure);
    if (connection < 0 || berth_send(connection, &request, failure) < 0) return -1;
    do {
        if (berth_receive(connection, TIMEOUT_MS, &reply, &ran->namespaces, NULL, failure) < 0) return -1;
        const char* text = reply.body.launch_progress.text;
        if (reply.which_body == berth_v1_Reply_launch_progress_tag && text[0] != '\0')
            fprintf(stderr, "berth: %s\n", text);
    } while (reply.which_body == berth_v1_Reply_launch_progress_tag);
    const berth_v1_LaunchReply* launch = &reply.body.launch;
    if (reply.which_body != berth_v1_Reply_launch_tag ||
        ran->namespaces.count != berth_descriptors_of(launch->user_namespace, &launch->interior))
        return BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), ("the reply lacks the container's namespaces"),
                          ());
    ran->reply = *launch;
    return 0;
}

int berth_run_prepare(const struct berth_run* run, struct berth_ran* ran) {
    struct berth_failure failure;
    if (ask(run, ran, &failure) == 0) return 0;
    if (run->never_pull || is_rank() || !is_pullable(run->image, &failure))
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    /* A slip of the keys goes to a registry, whose answer says nothing of what is here. */
    const char* suggestion = strstr(failure.hint, "did you mean");
    if (suggestion != NULL)
        fprintf(stderr, "berth: %s: %.*s?\n", failure.what, (int)strcspn(suggestion, "?"), suggestion);
    if (!pull(run)) return BERTH_STATUS_FAILED;
    return ask(run, ran, &failure) == 0 ? 0 : berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

/* The words of an image's entrypoint, which lie in the container. Their number, or -1 with errno. */
static int read_entrypoint(char** words, int most) {
    static char text[64 * 1024 + 1];
    BERTH_FD file = open(ENTRYPOINT_WORDS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return -1;
    const ssize_t length = read(file, text, sizeof text - 1);
    if (length < 0) return -1;
    text[length] = '\0';
    int count = 0;
    for (char* word = text; word < text + length && count < most; word += strlen(word) + 1)
        words[count++] = word;
    return count;
}

/* The whole command: the entrypoint's words, and what the user says, or the image. 0, or an exit status after
 * telling the user. */
static int make_command(const struct berth_run* run, const berth_v1_LaunchReply* reply, char** words) {
    struct berth_failure failure;
    int count = 0;
    if (run->program != NULL) words[count++] = (char*)run->program;
    if (reply->interior.entrypoint && (count = read_entrypoint(words, MOST_WORDS)) < 0) {
        BERTH_FAIL(&failure, BERTH_RUN_FAILED, ("the image's entrypoint could not be run", berth_host()),
                   (BERTH_TEXT("%s: %s", ENTRYPOINT_WORDS, strerror(errno))), ());
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    }
    const char* at = (const char*)reply->command.bytes;
    const char* end = at + reply->command.size;
    const bool said = run->command[0] != NULL || run->program != NULL;
    for (size_t i = 0; run->command[i] != NULL && count < 2 * MOST_WORDS; i++)
        words[count++] = run->command[i];
    for (; !said && at < end && memchr(at, '\0', (size_t)(end - at)) != NULL && count < 2 * MOST_WORDS;
         at += strlen(at) + 1)
        words[count++] = (char*)at;
    words[count] = NULL;
    if (count > 0 && count < 2 * MOST_WORDS) return 0;
    BERTH_FAIL(&failure, BERTH_USAGE,
               (count == 0 ? "no command was given" : "the command has too many words"),
               (count == 0 ? "the image does not say what to run either" : "2048 can be had"), ("berth run"));
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

int berth_run_enter(const struct berth_run* run, struct berth_ran* ran, pid_t dies_with) {
    static char* words[2 * MOST_WORDS + 1];
    static char here[PATH_MAX];
    struct berth_failure failure;
    const berth_v1_Interior* interior = &ran->reply.interior;
    const char* before = getcwd(here, sizeof here);
    if (berth_enter(&ran->namespaces, interior, &failure) < 0 ||
        berth_drop_bounding_set(interior, &failure) < 0 || berth_drop_privileges(interior, &failure) < 0)
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    /* Not before: a change of credentials takes this back. */
    if (dies_with != 0 &&
        (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL) < 0 || getppid() != dies_with))
        return BERTH_STATUS_FAILED;
    berth_close_descriptors(&ran->namespaces);
    int status = make_command(run, &ran->reply, words);
    if (status == 0) status = berth_choose_directory(NULL, interior, before);
    if (status != 0) return status;
    const struct berth_identity identity = {
        .id = ran->reply.container_id, .image = ran->reply.image, .digest = ran->reply.digest};
    if (berth_change_environment(&identity, NULL, 0, &failure) < 0)
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    return berth_become(words);
}

int berth_run_go(struct berth_run* run) {
    static struct berth_ran ran;
    for (size_t i = 0; i < run->variables.count; i++) {
        const char* fault = berth_run_add(run, "env", run->variables.text[i]);
        if (fault == NULL) continue;
        struct berth_failure failure;
        BERTH_FAIL(&failure, BERTH_OPTION, ("--env", run->variables.text[i]), (fault), ());
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    }
    if (run->detached) return berth_run_detached(run);
    const int status = berth_run_prepare(run, &ran);
    return status != 0 ? status : berth_run_enter(run, &ran, 0);
}

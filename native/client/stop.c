/* `berth stop`. berthd says which processes a container lasts for; they are this user's own, who signals
 * them with no more rights than kill(1) has. */
#include "stop.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "berth.h"
#include "start.h"

enum {
    MOST_HOLDERS = 64, /* proto/berth.options */
    TIMEOUT_MS = 10000,
    USUAL_SECONDS = 10,
    /* How long a container in the background may take to kill what is in it. */
    KILLING_MS = 1000,
    LOOK_MS = 5,
    GONE_MS = 5000,
};

static int usage(const char* what, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_USAGE, (what), (why), ("berth stop"));
    return berth_print_failure(&failure, (int)failure.exit_status);
}

/* Finds a container of this user's. */
static int look(const char* socket, const char* name, berth_v1_Reply* reply, struct berth_failure* failure) {
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_exec_tag;
    request.body.exec.look = true;
    const size_t size = sizeof request.body.exec.container;
    if ((size_t)snprintf(request.body.exec.container, size, "%s", name) >= size)
        return BERTH_FAIL(failure, BERTH_USAGE, ("a container's name is at most 64 characters"), (name),
                          ("berth stop"));
    BERTH_FD connection = berth_connect(socket, 0, failure);
    BERTH_DESCRIPTORS none = {.count = 0};
    if (connection < 0 || berth_send(connection, &request, failure) < 0 ||
        berth_receive(connection, TIMEOUT_MS, reply, &none, NULL, failure) < 0)
        return -1;
    if (reply->which_body == berth_v1_Reply_exec_tag) return 0;
    return BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), ("the reply is to another question"), ());
}

/* When a process was started, as proc(5) has it; false when there is none. */
static bool start_of(uint32_t pid, char* started, size_t size) {
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", (unsigned)pid);
    FILE* file = fopen(path, "re");
    if (file == NULL) return false;
    const size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    /* Its name, in parentheses, may have any character; the 20th word after it. */
    char* at = strrchr(text, ')');
    for (int word = 2; at != NULL && word < 22; word++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) return false;
    snprintf(started, size, "%.*s", (int)strcspn(at + 1, " "), at + 1);
    return true;
}

/* A pidfd of that very process, or -1. */
static int open_holder(const berth_v1_Holder* holder) {
    char started[24];
    BERTH_FD pidfd = (int)syscall(SYS_pidfd_open, (pid_t)holder->pid, 0);
    /* Once it is held, its number is nobody else's: what is read now is of this process, or it has ended. */
    if (pidfd < 0 || !start_of(holder->pid, started, sizeof started) || strcmp(started, holder->started) != 0)
        return -1;
    return berth_take(&pidfd);
}

struct holders {
    struct pollfd process[MOST_HOLDERS];
    nfds_t count;
};

static void close_holders(struct holders* holders) {
    for (nfds_t i = 0; i < holders->count; i++) berth_close(&holders->process[i].fd);
}
#define HOLDERS __attribute__((cleanup(close_holders))) struct holders

static void send_all(const struct holders* holders, int number, int value) {
    siginfo_t about;
    memset(&about, 0, sizeof about);
    about.si_signo = number;
    about.si_code = SI_QUEUE;
    about.si_pid = getpid();
    about.si_uid = getuid();
    about.si_value.sival_int = value;
    for (nfds_t i = 0; i < holders->count; i++) {
        if (holders->process[i].fd >= 0)
            syscall(SYS_pidfd_send_signal, holders->process[i].fd, number, &about, 0);
    }
}

/* Waits until `deadline` for all of them to end. */
static bool all_ended(struct holders* holders, int64_t deadline) {
    for (;;) {
        nfds_t left = 0;
        for (nfds_t i = 0; i < holders->count; i++) {
            if (holders->process[i].revents != 0) berth_close(&holders->process[i].fd);
            left += holders->process[i].fd >= 0;
        }
        const int64_t wait = deadline - berth_now_ms();
        if (left == 0 || wait <= 0) return left == 0;
        if (poll(holders->process, holders->count, (int)wait) < 0 && errno != EINTR) return false;
    }
}

/* The name may be used again when this command is over: berthd hears of the end by itself. */
static void await_gone(const char* socket, const char* id) {
    static berth_v1_Reply reply;
    struct berth_failure failure;
    const int64_t deadline = berth_now_ms() + GONE_MS;
    while (berth_now_ms() < deadline && look(socket, id, &reply, &failure) == 0) poll(NULL, 0, LOOK_MS);
}

static int stop(const char* socket, const char* name, int seconds) {
    static berth_v1_Reply reply;
    struct berth_failure failure;
    if (look(socket, name, &reply, &failure) < 0)
        return berth_print_failure(&failure, (int)failure.exit_status);
    const berth_v1_ExecReply* container = &reply.body.exec;
    char id[sizeof container->container_id];
    snprintf(id, sizeof id, "%s", container->container_id);
    if (container->job_id != 0) {
        BERTH_FAIL(&failure, BERTH_NOT_RUNNING, (name, berth_host()),
                   (BERTH_TEXT("it belongs to job %u, and ends with that", (unsigned)container->job_id)), ());
        return berth_print_failure(&failure, (int)failure.exit_status);
    }
    HOLDERS holders = {.count = 0};
    for (pb_size_t i = 0; i < container->holders_count; i++) {
        const int pidfd = open_holder(&container->holders[i]);
        if (pidfd >= 0) holders.process[holders.count++] = (struct pollfd){.fd = pidfd, .events = POLLIN};
    }
    send_all(&holders, SIGTERM, 0);
    if (!all_ended(&holders, berth_now_ms() + (int64_t)seconds * 1000)) {
        send_all(&holders, SIGTERM, BERTH_STOP_NOW);
        if (!all_ended(&holders, berth_now_ms() + KILLING_MS)) send_all(&holders, SIGKILL, 0);
        all_ended(&holders, berth_now_ms() + GONE_MS);
    }
    await_gone(socket, id);
    printf("%s\n", name);
    return 0;
}

int berth_stop(int argc, char** argv) {
    static const struct option known[] = {
        {"time", required_argument, NULL, 't'}, {"socket", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    const char* socket = getenv("BERTH_SOCKET");
    if (socket == NULL || socket[0] == '\0') socket = BERTH_SOCKET;
    int seconds = USUAL_SECONDS;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "+:t:", known, NULL)) != -1;) {
        char* end = NULL;
        switch (option) {
            case 't': {
                const long given = strtol(optarg, &end, 10);
                if (*optarg == '\0' || *end != '\0' || given < 0 || given > 86400)
                    return usage("--time was given something else than seconds", optarg);
                seconds = (int)given;
                break;
            }
            case 's':
                socket = optarg;
                break;
            default:
                return usage(option == ':' ? "an option lacks its value" : "berth stop has no such option",
                             argv[optind - 1]);
        }
    }
    if (optind >= argc) return usage("no container was named", "give a container's name or id");
    int status = 0;
    for (int i = optind; i < argc; i++) {
        const int one = stop(socket, argv[i], seconds);
        if (one != 0) status = one;
    }
    return status;
}

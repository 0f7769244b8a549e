#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "berth.h"
#include "start.h"

enum { TIMEOUT_MS = 10000 };

struct options {
    const char* socket;
    const char* container;
    uint32_t job;
    const char* workdir;
    char** environment; /* NAME=VALUE from -e */
    int environment_count;
    char** command;
};

static void free_list(char*** list) {
    free(*list);
}
#define LIST __attribute__((cleanup(free_list))) char**

static int usage(const char* what, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_USAGE, (what), (why), ("berth exec"));
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

/* 0, or the exit status after telling the user. options->environment has room for every argument. */
static int parse(int argc, char** argv, struct options* options) {
    static const struct option known[] = {{"job", required_argument, NULL, 'j'},
                                          {"workdir", required_argument, NULL, 'w'},
                                          {"env", required_argument, NULL, 'e'},
                                          {"socket", required_argument, NULL, 's'},
                                          {"interactive", no_argument, NULL, 'i'},
                                          {"tty", no_argument, NULL, 't'},
                                          {NULL, 0, NULL, 0}};
    opterr = 0;
    bool by_job = false;
    for (int option; (option = getopt_long(argc, argv, "+:j:w:e:it", known, NULL)) != -1;) {
        switch (option) {
            case 'j': {
                char* end;
                errno = 0;
                const unsigned long job = strtoul(optarg, &end, 10);
                if (*optarg == '-' || *end != '\0' || errno != 0 || job == 0 || job > UINT32_MAX)
                    return usage("--job was given something else than a job's number", optarg);
                options->job = (uint32_t)job;
                by_job = true;
                break;
            }
            case 'w':
                options->workdir = optarg;
                break;
            case 'e':
                if (strchr(optarg, '=') == NULL || optarg[0] == '=')
                    return usage("--env wants NAME=VALUE", optarg);
                options->environment[options->environment_count++] = optarg;
                break;
            case 's':
                options->socket = optarg;
                break;
            case 'i': /* the command always has this terminal and this standard input */
            case 't':
                break;
            default: {
                const char* word = argv[optind - 1];
                return usage(option == ':' ? "an option lacks its value" : "berth exec has no such option",
                             word);
            }
        }
    }
    if (!by_job) {
        if (optind >= argc) return usage("no container was named", "give a container's id, or --job=JOBID");
        options->container = argv[optind++];
    }
    if (optind < argc && strcmp(argv[optind], "--") == 0) optind++;
    if (optind >= argc) return usage("no command was given", "berth exec runs a command in a container");
    options->command = argv + optind;
    return 0;
}

/* A node whose containers have no user namespace: only root could join. Slurm can, for its own job, so it is
 * asked. */
static int exec_by_slurm(const struct options* options, const berth_v1_ExecReply* container) {
    char job[32];
    char node[sizeof container->node_name + 16];
    char image[sizeof container->image + 16];
    snprintf(job, sizeof job, "--jobid=%u", (unsigned)container->job_id);
    snprintf(node, sizeof node, "--nodelist=%s", container->node_name);
    snprintf(image, sizeof image, "--image=%s", container->image);
    size_t count = 0;
    while (options->command[count] != NULL) count++;
    const char** arguments = calloc(count + 24, sizeof *arguments);
    if (arguments == NULL) return BERTH_STATUS_FAILED;
    size_t n = 0;
    arguments[n++] = "srun";
    arguments[n++] = "--overlap";
    arguments[n++] = "--quiet";
    arguments[n++] = "--nodes=1";
    arguments[n++] = "--ntasks=1";
    arguments[n++] = "--mpi=none";
    arguments[n++] = job;
    arguments[n++] = node;
    arguments[n++] = image;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) arguments[n++] = "--pty";
    arguments[n++] = "--";
    if (options->workdir != NULL) {
        /* Not srun's --chdir, which is taken on the host: it knows no directory that only the image has. */
        arguments[n++] = "sh";
        arguments[n++] = "-c";
        arguments[n++] = "cd -- \"$1\" || exit 125; shift; exec \"$@\"";
        arguments[n++] = "sh";
        arguments[n++] = options->workdir;
    }
    for (size_t i = 0; i < count; i++) arguments[n++] = options->command[i];
    for (int i = 0; i < options->environment_count; i++) putenv(options->environment[i]);
    execvp("srun", (char* const*)arguments);
    struct berth_failure failure;
    BERTH_FAIL(
        &failure, BERTH_JOIN_FAILED, (berth_host()),
        (BERTH_TEXT("user namespaces are off here, and srun could not be started: %s", strerror(errno))), ());
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

/* Root enters as the container's user, never as root: nothing privileged runs inside an image. */
static int become_owner(const berth_v1_ExecReply* container, struct berth_failure* failure) {
    if (geteuid() != 0 || container->uid == 0) return 0;
    gid_t gids[sizeof container->gids / sizeof container->gids[0]];
    for (pb_size_t i = 0; i < container->gids_count; i++) gids[i] = container->gids[i];
    if (setgroups(container->gids_count, gids) < 0 ||
        setresgid(container->gid, container->gid, container->gid) < 0 ||
        (container->user_namespace && setresuid(container->uid, container->uid, container->uid) < 0))
        return BERTH_FAIL(failure, BERTH_JOIN_FAILED, (berth_host()),
                          (BERTH_TEXT("becoming the container's user: %s", strerror(errno))), ());
    return 0;
}

static int join_failed(const char* call) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_JOIN_FAILED, (berth_host()), (BERTH_TEXT("%s: %s", call, strerror(errno))),
               ());
    return berth_print_failure(&failure, BERTH_STATUS_FAILED);
}

static int run_inside(const struct options* options, const berth_v1_ExecReply* container,
                      const struct berth_descriptors* namespaces) {
    struct berth_failure failure;
    char cwd[PATH_MAX];
    const berth_v1_Interior* interior = &container->interior;
    const bool from_root = geteuid() == 0 && container->uid != 0;
    const char* here = getcwd(cwd, sizeof cwd);
    if (become_owner(container, &failure) < 0 || berth_enter(namespaces, interior, &failure) < 0 ||
        berth_drop_bounding_set(interior, &failure) < 0)
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    if (!container->user_namespace && setresuid(container->uid, container->uid, container->uid) < 0)
        return join_failed("setresuid");
    if (berth_drop_privileges(interior, &failure) < 0 || (from_root && berth_guard_terminal(&failure) < 0))
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    const int status = berth_choose_directory(options->workdir, interior, here);
    if (status != 0) return status;
    const struct berth_identity identity = {
        .id = container->container_id,
        .image = container->image,
        .digest = container->digest,
    };
    if (berth_change_environment(&identity, options->environment, options->environment_count, &failure) < 0)
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    return berth_become(options->command);
}

int berth_exec(int argc, char** argv) {
    static berth_v1_Reply reply;
    LIST environment = calloc((size_t)argc, sizeof *environment);
    if (environment == NULL) return usage("berth exec could not start", strerror(errno));
    struct options options = {.socket = getenv("BERTH_SOCKET"), .environment = environment};
    if (options.socket == NULL) options.socket = BERTH_SOCKET;
    const int status = parse(argc, argv, &options);
    if (status != 0 || options.command == NULL) return status;

    struct berth_failure failure;
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_exec_tag;
    if (options.container != NULL) {
        const size_t size = sizeof request.body.exec.container;
        if ((size_t)snprintf(request.body.exec.container, size, "%s", options.container) >= size)
            return usage("a container's id is at most 64 characters", options.container);
    }
    request.body.exec.job_id = options.job;
    BERTH_FD connection = berth_connect(options.socket, 0, &failure);
    BERTH_DESCRIPTORS namespaces = {.count = 0};
    if (connection < 0 || berth_send(connection, &request, &failure) < 0 ||
        berth_receive(connection, TIMEOUT_MS, &reply, &namespaces, NULL, &failure) < 0)
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    const berth_v1_ExecReply* container = &reply.body.exec;
    if (reply.which_body == berth_v1_Reply_exec_tag && namespaces.count == 0)
        return exec_by_slurm(&options, container);
    if (reply.which_body != berth_v1_Reply_exec_tag ||
        namespaces.count != berth_descriptors_of(container->user_namespace, &container->interior)) {
        BERTH_FAIL(&failure, BERTH_PROTOCOL_FRAME, (), ("the reply lacks the container's namespaces"), ());
        return berth_print_failure(&failure, BERTH_STATUS_FAILED);
    }
    return run_inside(&options, container, &namespaces);
}

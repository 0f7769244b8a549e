/* `berth health`: asks berthd after the node. Slurm starts this on every node every few minutes, beside the
 * jobs: one question, one answer, no Node. That berthd does not answer is a finding too. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "berth.h"
#include "wire.h"

/* src/health/report.ts */
enum { STATUS_FAIL = 2, STATUS_USAGE = 2, NAGIOS_UNKNOWN = 3 };

enum {
    /* berthd gives each check 5 s and all of them 20 s. Slurm ends a HealthCheckProgram after 60 s. */
    TIMEOUT_MS = 25000,
    /* A person wants to know how things are now; Slurm's answer may be a little older. */
    MAX_AGE = 10,
    SLURM_MAX_AGE = 30,
};

static int usage(const char* what, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_USAGE, (what), (why), ("berth health"));
    fprintf(stderr, "berth: %s: %s\nberth:   why: %s\nberth:   hint: %s\n", failure.code, failure.what,
            failure.why, failure.hint);
    return STATUS_USAGE;
}

static int set_age(const char* text, uint32_t* age) {
    char* end;
    errno = 0;
    const unsigned long seconds = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || seconds > 86400)
        return usage("--max-age was given something else than seconds", text);
    *age = (uint32_t)seconds;
    return 0;
}

static int parse(int argc, char** argv, berth_v1_HealthRequest* request, const char** socket) {
    static const struct option known[] = {
        {"all", no_argument, NULL, 'a'},          {"json", no_argument, NULL, 'j'},
        {"nagios", no_argument, NULL, 'n'},       {"prometheus", no_argument, NULL, 'p'},
        {"slurm", no_argument, NULL, 'l'},        {"max-age", required_argument, NULL, 'm'},
        {"socket", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":am:", known, NULL)) != -1;) {
        switch (option) {
            case 'a':
                request->all = true;
                break;
            case 'j':
                request->format = berth_v1_HealthRequest_Format_FORMAT_JSON;
                break;
            case 'n':
                request->format = berth_v1_HealthRequest_Format_FORMAT_NAGIOS;
                break;
            case 'p':
                request->format = berth_v1_HealthRequest_Format_FORMAT_PROMETHEUS;
                break;
            case 'l':
                request->slurm = true;
                if (request->max_age == MAX_AGE) request->max_age = SLURM_MAX_AGE;
                break;
            case 'm':
                if (set_age(optarg, &request->max_age) != 0) return STATUS_USAGE;
                break;
            case 's':
                *socket = optarg;
                break;
            case ':':
                return usage("an option lacks its value", argv[optind - 1]);
            default:
                return usage("berth health has no such option", argv[optind - 1]);
        }
    }
    if (optind < argc) return usage("berth health takes no arguments", argv[optind]);
    return 0;
}

/* Text for JSON and for Prometheus' labels, which quote alike. */
static void print_quoted(const char* text) {
    putchar('"');
    for (const char* c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') putchar('\\');
        putchar(*c);
    }
    putchar('"');
}

/* Now, as in berthd's own answer: 2026-01-02T03:04:05.678Z. */
static void print_time(void) {
    struct timespec now;
    struct tm date;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &date));
    printf("\"%s.%03ldZ\"", text, now.tv_nsec / 1000000);
}

/* The finding that only this side can have. */
static void print_dead(int format, const struct berth_failure* failure) {
    static const char hint[] =
        "systemctl status berthd tells why; where it runs, systemctl restart berthd.socket berthd makes its "
        "socket anew; containers that run go on, new ones cannot start";
    switch (format) {
        case berth_v1_HealthRequest_Format_FORMAT_JSON:
            fputs("{\"version\":1,\"node\":", stdout);
            print_quoted(berth_host());
            fputs(",\"time\":", stdout);
            print_time();
            fputs(
                ",\"status\":\"fail\",\"checks\":[{\"id\":\"daemon\",\"family\":\"installation\",\"status\":"
                "\"fail\",\"text\":",
                stdout);
            print_quoted(BERTH_TEXT("%s: %s", failure->what, failure->why));
            fputs(",\"hint\":", stdout);
            print_quoted(hint);
            fputs("}]}\n", stdout);
            break;
        case berth_v1_HealthRequest_Format_FORMAT_NAGIOS:
            printf("BERTH CRITICAL - daemon: %s: %s | failed=1\n", failure->what, failure->why);
            break;
        case berth_v1_HealthRequest_Format_FORMAT_PROMETHEUS:
            fputs(
                "# TYPE berth_health_status gauge\nberth_health_status{check=\"daemon\",family="
                "\"installation\"} 2\n# TYPE berth_health_ok gauge\nberth_health_ok 0\n",
                stdout);
            break;
        default:
            printf("fail    daemon: %s: %s; hint: %s\n", failure->what, failure->why, hint);
    }
}

/* What berthd says, piece by piece. The exit status, or -1 when it could not be had whole. */
static int print_answer(int connection, struct berth_failure* failure) {
    static berth_v1_Reply reply;
    const int64_t deadline = berth_now_ms() + TIMEOUT_MS;
    for (;;) {
        const int64_t left = deadline - berth_now_ms();
        if (berth_receive(connection, left > 0 ? (int)left : 0, &reply, NULL, NULL, failure) < 0) return -1;
        if (reply.which_body != berth_v1_Reply_health_tag)
            return BERTH_FAIL(failure, BERTH_PROTOCOL_FRAME, (), ("berthd answered something else"), ());
        const berth_v1_HealthReply* health = &reply.body.health;
        fwrite(health->text.bytes, 1, health->text.size, stdout);
        if (!health->more) return (int)health->exit_status;
    }
}

int berth_health(int argc, char** argv, bool from_slurm) {
    berth_v1_Request request = berth_v1_Request_init_zero;
    request.which_body = berth_v1_Request_health_tag;
    berth_v1_HealthRequest* health = &request.body.health;
    health->slurm = from_slurm;
    health->max_age = from_slurm ? SLURM_MAX_AGE : MAX_AGE;
    const char* socket = getenv("BERTH_SOCKET");
    if (socket == NULL) socket = BERTH_SOCKET;
    const int status = parse(argc, argv, health, &socket);
    /* To Nagios, a wrong command line is nothing found. */
    const bool nagios = health->format == berth_v1_HealthRequest_Format_FORMAT_NAGIOS;
    if (status != 0) return nagios ? NAGIOS_UNKNOWN : status;
    if (health->slurm && !from_slurm && geteuid() != 0)
        fprintf(stderr, "berth: --slurm is ignored: only root's makes Berth drain or resume the node\n");
    const char* node = getenv("SLURMD_NODENAME");
    if (node != NULL) snprintf(health->node_name, sizeof health->node_name, "%s", node);

    struct berth_failure failure;
    BERTH_FD connection = berth_connect(socket, 0, &failure);
    int answer = -1;
    if (connection >= 0 && berth_send(connection, &request, &failure) == 0)
        answer = print_answer(connection, &failure);
    if (answer >= 0) return answer;
    print_dead(health->format, &failure);
    fflush(stdout);
    /* To tell Slurm, the configuration has to be read: that is rare enough for Node. */
    if (health->slurm && geteuid() == 0) return BERTH_HEALTH_DEAD;
    return STATUS_FAIL;
}

bool berth_is_health_check(const char* program) {
    const char* slash = strrchr(program, '/');
    return strcmp(slash != NULL ? slash + 1 : program, "berth-healthcheck") == 0;
}

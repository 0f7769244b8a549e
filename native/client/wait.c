/* `berth wait`: until containers in the background have ended, and how their commands have. */
#include <getopt.h>
#include <stdio.h>

#include "berth.h"
#include "log.h"
#include "start.h"

static int usage(const char* what, const char* why) {
    struct berth_failure failure;
    BERTH_FAIL(&failure, BERTH_USAGE, (what), (why), ("berth wait"));
    return berth_print_failure(&failure, (int)failure.exit_status);
}

static int wait_for(const char* name) {
    struct berth_failure failure;
    char id[BERTH_LOG_ID];
    BERTH_FD directory = berth_log_find(name, id, &failure);
    if (directory < 0) return berth_print_failure(&failure, (int)failure.exit_status);
    const int status = berth_log_wait(directory, id);
    if (status < 0) {
        BERTH_FAIL(&failure, BERTH_END_UNKNOWN, (name), (), (name));
        return berth_print_failure(&failure, (int)failure.exit_status);
    }
    printf("%d\n", status);
    return fflush(stdout) == 0 ? 0 : BERTH_STATUS_FAILED;
}

int berth_wait(int argc, char** argv) {
    static const struct option known[] = {{"socket", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "+:", known, NULL)) != -1;) {
        if (option != 's')
            return usage(option == ':' ? "an option lacks its value" : "berth wait has no such option",
                         argv[optind - 1]);
    }
    if (optind >= argc) return usage("no container was named", "give a container's name or id");
    int status = 0;
    for (int i = optind; i < argc; i++) {
        const int one = wait_for(argv[i]);
        if (one != 0) status = one;
    }
    return status;
}

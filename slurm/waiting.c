#include "waiting.h"

#include <stddef.h>
#include <sys/prctl.h>

void begin_waiting(struct waiting* waiting) {
    static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    sigset_t heard;
    sigemptyset(&heard);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) sigaddset(&heard, ending[i]);
    prctl(PR_GET_NAME, waiting->name);
    prctl(PR_SET_NAME, "berth-wait");
    sigprocmask(SIG_UNBLOCK, &heard, &waiting->blocked);
}

void end_waiting(const struct waiting* waiting) {
    sigprocmask(SIG_SETMASK, &waiting->blocked, NULL);
    prctl(PR_SET_NAME, waiting->name);
}

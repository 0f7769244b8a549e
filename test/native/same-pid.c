/* A process with a given pid, as when the kernel has come round to it again. Prints "ready" and stays until
 * its standard input ends. same-pid PID */
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    pid_t wanted = (pid_t)atoi(argv[1]);
    struct clone_args arguments = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&wanted, .set_tid_size = 1};
    const pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid < 0) {
        perror("clone3");
        return 1;
    }
    if (pid == 0) {
        printf("ready\n");
        fflush(stdout);
        char byte;
        while (read(STDIN_FILENO, &byte, sizeof byte) > 0) continue;
        return 0;
    }
    return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}

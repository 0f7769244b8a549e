/* An image's entrypoint: prepares what programs find, then executes what it is given. Its first word is how:
 * "well", "forks" (its command is its child), "fails", "swallows" (the command is not executed). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int run(char** command) {
    const pid_t child = fork();
    if (child == 0) execv(command[0], command);
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char** argv) {
    char text[64];
    if (argc < 3 || strcmp(argv[1], "fails") == 0) return 3;
    printf("preparing %s\n", getenv("SLURM_PROCID"));
    fflush(stdout);
    if (strcmp(argv[1], "swallows") == 0) return 0;
    snprintf(text, sizeof text, "for rank %s", getenv("SLURM_PROCID"));
    if (fgets(text + strlen(text), 8, stdin) != NULL) strcpy(text, "with the program's input");
    setenv("PREPARED", text, 1);
    unsetenv("REMOVED");
    setenv("SLURM_JOB_ID", "spoilt", 1);
    umask(027);
    if (chdir("/place") < 0) return 4;
    if (strcmp(argv[1], "forks") == 0) return run(argv + 2);
    execv(argv[2], argv + 2);
    return 5;
}

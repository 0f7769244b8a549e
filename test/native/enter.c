/* Starts a program in a container exactly as a rank does (slurm/task.c), with the plugin's own code.
 *   enter UID GID GID,GID,…|- COUNT COMMAND [ARGUMENT...]
 * COUNT is 1 or 2: descriptor 3, or 3 and 4, are the namespaces as berthd sends them. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../native/client/enter.h"

enum { MOST_GROUPS = 1024 };

static int parse_groups(char* text, gid_t* gids) {
    int count = 0;
    if (strcmp(text, "-") == 0) return 0;
    for (char* word = strtok(text, ","); word != NULL && count < MOST_GROUPS; word = strtok(NULL, ","))
        gids[count++] = (gid_t)strtoul(word, NULL, 10);
    return count;
}

static int enter(const struct berth_descriptors* namespaces, struct berth_failure* failure) {
    return berth_enter(namespaces, failure) < 0 || berth_drop_bounding_set(failure) < 0 ? -1 : 0;
}

static int failed(const struct berth_failure* failure) {
    fprintf(stderr, "%s: %s\n", failure->code, failure->why);
    return 120;
}

int main(int argc, char** argv) {
    if (argc < 6) return 2;
    const uid_t uid = (uid_t)strtoul(argv[1], NULL, 10);
    const gid_t gid = (gid_t)strtoul(argv[2], NULL, 10);
    static gid_t gids[MOST_GROUPS];
    const int count = parse_groups(argv[3], gids);
    const struct berth_descriptors namespaces = {.fd = {3, 4}, .count = atoi(argv[4])};
    struct berth_failure failure;
    if (namespaces.count == 1 && enter(&namespaces, &failure) < 0) return failed(&failure);
    if (setgroups((size_t)count, gids) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) {
        perror("becoming the user");
        return 120;
    }
    if (namespaces.count == 2 && enter(&namespaces, &failure) < 0) return failed(&failure);
    if (berth_drop_privileges(&failure) < 0) return failed(&failure);
    close(3);
    close(4);
    execv(argv[5], argv + 5);
    perror(argv[5]);
    return 121;
}

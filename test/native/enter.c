/* Starts a program in a container exactly as a rank does (slurm/task.c), with the plugin's own code.
 *   enter UID GID GID,GID,…|- COUNT UNSHARED plain|root|pretend COMMAND [ARGUMENT...]
 * COUNT descriptors from 3 on are the namespaces as berthd sends them, the last UNSHARED of them others than
 * user and mount namespace. */
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

static int enter(const struct berth_descriptors* namespaces, const berth_v1_Interior* interior,
                 struct berth_failure* failure) {
    if (berth_enter(namespaces, interior, failure) < 0) return -1;
    return berth_drop_bounding_set(interior, failure);
}

static int failed(const struct berth_failure* failure) {
    fprintf(stderr, "%s: %s\n", failure->code, failure->why);
    return 120;
}

int main(int argc, char** argv) {
    if (argc < 8) return 2;
    const uid_t uid = (uid_t)strtoul(argv[1], NULL, 10);
    const gid_t gid = (gid_t)strtoul(argv[2], NULL, 10);
    static gid_t gids[MOST_GROUPS];
    const int count = parse_groups(argv[3], gids);
    struct berth_descriptors namespaces = {.fd = {3, 4, 5, 6, 7, 8}, .count = atoi(argv[4])};
    berth_v1_Interior interior = berth_v1_Interior_init_zero;
    interior.unshared = (uint32_t)strtoul(argv[5], NULL, 10);
    interior.pretend = strcmp(argv[6], "pretend") == 0;
    interior.root = interior.pretend || strcmp(argv[6], "root") == 0;
    const bool user_namespace = namespaces.count == berth_descriptors_of(true, &interior);
    struct berth_failure failure;
    if (!user_namespace && enter(&namespaces, &interior, &failure) < 0) return failed(&failure);
    if (setgroups((size_t)count, gids) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) {
        perror("becoming the user");
        return 120;
    }
    if (user_namespace && enter(&namespaces, &interior, &failure) < 0) return failed(&failure);
    if (berth_drop_privileges(&interior, &failure) < 0) return failed(&failure);
    for (int i = 0; i < namespaces.count; i++) close(namespaces.fd[i]);
    execv(argv[7], argv + 7);
    perror(argv[7]);
    return 121;
}

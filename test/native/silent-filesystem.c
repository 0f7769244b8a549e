/* A FUSE file system whose server takes a look-up and never answers: whoever looks something up there is not
 * to be killed until the file system ends. Prints "mounted", then "asked" when somebody waits. Ends with its
 * standard input. silent-filesystem DIRECTORY */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void answer(int fuse, uint64_t unique, int error, const void* body, size_t size) {
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof header + size), .error = -error, .unique = unique};
    struct iovec parts[] = {{&header, sizeof header}, {(void*)body, size}};
    if (writev(fuse, parts, size > 0 ? 2 : 1) < 0) perror("writev");
}

static void serve(int fuse, const struct fuse_in_header* request) {
    if (request->opcode == FUSE_INIT) {
        const struct fuse_init_out init = {
            .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
        answer(fuse, request->unique, 0, &init, sizeof init);
    } else if (request->opcode == FUSE_GETATTR) {
        const struct fuse_attr_out attributes = {
            .attr = {.ino = FUSE_ROOT_ID, .mode = S_IFDIR | 0755, .nlink = 2}};
        answer(fuse, request->unique, 0, &attributes, sizeof attributes);
    } else if (request->opcode == FUSE_LOOKUP) {
        puts("asked");
        fflush(stdout);
    } else if (request->opcode != FUSE_INTERRUPT && request->opcode != FUSE_FORGET) {
        answer(fuse, request->unique, ENOSYS, NULL, 0);
    }
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    const int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[96];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
    if (fuse < 0 || mount("silent", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        perror(argv[1]);
        return 1;
    }
    puts("mounted");
    fflush(stdout);
    static char request[FUSE_MIN_READ_BUFFER];
    for (;;) {
        struct pollfd ready[] = {{.fd = fuse, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR) break;
        if (ready[1].revents != 0) break;
        if (ready[0].revents == 0) continue;
        if (read(fuse, request, sizeof request) < (ssize_t)sizeof(struct fuse_in_header)) break;
        serve(fuse, (const struct fuse_in_header*)request);
    }
    umount2(argv[1], MNT_DETACH);
    /* Closing the descriptor aborts the connection: everybody who waits gets an error. */
    close(fuse);
    return 0;
}

/* What a test wants to know from inside a container, as one static program that can be put into any image.
 * Prints one line per question; what fails prints the name of its errno. toolbox QUESTION [PATH...] */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void say_error(void) {
    puts(strerrorname_np(errno));
}

static void question_environment(const char* path) {
    (void)path;
    for (char** variable = environ; *variable != NULL; variable++) puts(*variable);
}

static void question_where(const char* path) {
    char directory[4096];
    (void)path;
    if (getcwd(directory, sizeof directory) == NULL) return say_error();
    puts(directory);
}

/* UID GID MODE, the mode with its type in octal as st_mode has it */
static void question_stat(const char* path) {
    struct stat status;
    if (lstat(path, &status) < 0) return say_error();
    printf("%u %u %o\n", status.st_uid, status.st_gid, status.st_mode);
}

static void question_read(const char* path) {
    const int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) return say_error();
    char bytes[4096];
    for (ssize_t got; (got = read(fd, bytes, sizeof bytes)) != 0;) {
        if (got < 0) return say_error();
        fwrite(bytes, 1, (size_t)got, stdout);
    }
    close(fd);
}

static void question_open(const char* path) {
    const int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) return say_error();
    puts("opened");
    close(fd);
}

/* Without writing anything. */
static void question_openwrite(const char* path) {
    const int fd = open(path, O_WRONLY);
    if (fd < 0) return say_error();
    puts("opened");
    close(fd);
}

static void question_write(const char* path) {
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) return say_error();
    if (write(fd, "x", 1) < 0) return say_error();
    puts("written");
    close(fd);
}

static void question_list(const char* path) {
    struct dirent** names;
    const int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) return say_error();
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.') printf("%s\n", names[i]->d_name);
    }
}

static void question_remount(const char* path) {
    if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL) < 0) return say_error();
    puts("remounted");
}

static void question_id(const char* path) {
    (void)path;
    static gid_t gids[65536];
    const int count = getgroups(65536, gids);
    printf("%u %u %u %u", getuid(), geteuid(), getgid(), getegid());
    for (int i = 0; i < count; i++) printf(" %u", gids[i]);
    puts("");
}

static void question_dropgroups(const char* path) {
    (void)path;
    if (setgroups(0, NULL) < 0) return say_error();
    puts("dropped");
}

static void question_chown(const char* path) {
    if (chown(path, 33, 33) < 0) return say_error();
    puts("changed");
}

static void question_remove(const char* path) {
    if (remove(path) < 0) return say_error();
    puts("removed");
}

static void question_mknod(const char* path) {
    if (mknod(path, S_IFCHR | 0666, makedev(1, 5)) < 0) return say_error();
    puts("made");
}

static void question_mkfifo(const char* path) {
    if (mknod(path, S_IFIFO | 0666, 0) < 0) return say_error();
    puts("made");
}

/* MiB that can be written to a file before it fails, and why it fails. */
static void question_fill(const char* path) {
    static char bytes[1024 * 1024];
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) return say_error();
    size_t written = 0;
    for (ssize_t count; (count = write(fd, bytes, sizeof bytes)) > 0;) written += (size_t)count;
    printf("%zu ", written / sizeof bytes);
    say_error();
    close(fd);
}

/* Becomes another user, as a package manager does to download. */
static void question_become(const char* path) {
    (void)path;
    if (setgroups(0, NULL) < 0 || setresgid(33, 33, 33) < 0 || setresuid(33, 33, 33) < 0) return say_error();
    printf("%u %u\n", getuid(), getgid());
}

static void question_loopback(const char* path) {
    (void)path;
    const int server = socket(AF_INET, SOCK_STREAM, 0);
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(server, (struct sockaddr*)&address, length) < 0 || listen(server, 1) < 0 ||
        getsockname(server, (struct sockaddr*)&address, &length) < 0 ||
        connect(client, (struct sockaddr*)&address, length) < 0)
        return say_error();
    puts("connected");
}

static void question_sethostname(const char* path) {
    if (sethostname(path + 1, strlen(path) - 1) < 0) return say_error();
    puts("renamed");
}

int main(int argc, char** argv) {
    static const struct {
        const char* name;
        void (*answer)(const char* path);
    } questions[] = {{"stat", question_stat},
                     {"read", question_read},
                     {"open", question_open},
                     {"write", question_write},
                     {"list", question_list},
                     {"remount", question_remount},
                     {"openwrite", question_openwrite},
                     {"id", question_id},
                     {"dropgroups", question_dropgroups},
                     {"chown", question_chown},
                     {"remove", question_remove},
                     {"mknod", question_mknod},
                     {"mkfifo", question_mkfifo},
                     {"fill", question_fill},
                     {"become", question_become},
                     {"loopback", question_loopback},
                     {"environment", question_environment},
                     {"where", question_where},
                     {"sethostname", question_sethostname}};
    if (argc < 2) return 2;
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        if (strcmp(argv[1], questions[i].name) != 0) continue;
        if (argc == 2) questions[i].answer("/");
        for (int path = 2; path < argc; path++) questions[i].answer(argv[path]);
        return 0;
    }
    return 2;
}

/* A client of a Unix socket that does nothing: connects, and stays until its standard input ends.
 *   caller SOCKET */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(argv[1]) >= sizeof address.sun_path) return 2;
    strcpy(address.sun_path, argv[1]);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof address) < 0) {
        perror(argv[1]);
        return 1;
    }
    char byte;
    while (read(STDIN_FILENO, &byte, sizeof byte) > 0) continue;
    return 0;
}

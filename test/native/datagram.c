/* Receives one datagram on a Unix socket, as a service manager does, and prints it.
 *   datagram ADDRESS     a leading '@' names an abstract socket */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t length = strlen(argv[1]);
    if (length >= sizeof address.sun_path) return 2;
    memcpy(address.sun_path, argv[1], length);
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (fd < 0 || bind(fd, (struct sockaddr*)&address, size) < 0) {
        perror(argv[1]);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    char message[256];
    const ssize_t got = recv(fd, message, sizeof message, 0);
    if (got < 0) return 1;
    printf("%.*s\n", (int)got, message);
    return 0;
}

#include "socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace berth {
namespace {

constexpr int kPeerPidfd = 77;  // asm-generic/socket.h SO_PEERPIDFD
constexpr int kMostDescriptors = 16;

}  // namespace

int peer_of(int socket, Peer& peer, Failure& failure) {
    ucred credentials = {};
    socklen_t length = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return failure.set("getsockopt", "SO_PEERCRED");
    peer.pid = credentials.pid;
    peer.uid = credentials.uid;
    peer.gid = credentials.gid;
    int pidfd = -1;
    length = sizeof pidfd;
    if (getsockopt(socket, SOL_SOCKET, kPeerPidfd, &pidfd, &length) < 0) {
        if (errno != ENOPROTOOPT && errno != EINVAL) return failure.set("getsockopt", "SO_PEERPIDFD");
        pidfd = static_cast<int>(syscall(SYS_pidfd_open, credentials.pid, 0));
        if (pidfd < 0) return failure.set("pidfd_open", "peer");
    }
    peer.pidfd.reset(pidfd);
    return 0;
}

ssize_t send_descriptors(int socket, const void* bytes, size_t length, const int* descriptors, int count,
                         Failure& failure) {
    if (count > kMostDescriptors) return failure.set("sendmsg", "too many descriptors", EINVAL);
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
    iovec part = {const_cast<void*>(bytes), length};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count > 0) {
        const size_t size = sizeof(int) * static_cast<size_t>(count);
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(size);
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), descriptors, size);
    }
    const ssize_t sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EAGAIN) return 0;
    return failure.set("sendmsg", "client");
}

int socket_pair(Fd& ours, Fd& theirs, Failure& failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return failure.set("socketpair", "builder");
    ours.reset(pair[0]);
    theirs.reset(pair[1]);
    return 0;
}

int packet_pair(Fd& ours, Fd& theirs, Failure& failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return failure.set("socketpair", "packets");
    ours.reset(pair[0]);
    theirs.reset(pair[1]);
    return 0;
}

int send_packet(int socket, const void* bytes, size_t length, Failure& failure) {
    if (send(socket, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return failure.set("send", "packet");
    return 0;
}

namespace {

/// recvmsg(2), with the descriptors that came. Returns the bytes, 0 at the end.
ssize_t receive(int socket, char* bytes, size_t length, std::vector<Fd>& descriptors, const char* what,
                Failure& failure) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
    iovec part = {bytes, length};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t received = 0;
    do {
        received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    if (received < 0) return failure.set("recvmsg", what);
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int descriptor = -1;
            memcpy(&descriptor, CMSG_DATA(header) + i * sizeof descriptor, sizeof descriptor);
            descriptors.emplace_back(descriptor);
        }
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return failure.set("recvmsg", what, EMSGSIZE);
    return received;
}

/// All of `length` bytes, however they come.
int receive_whole(int socket, char* bytes, size_t length, std::vector<Fd>& descriptors, const char* what,
                  Failure& failure) {
    for (size_t got = 0; got < length;) {
        const ssize_t received = receive(socket, bytes + got, length - got, descriptors, what, failure);
        if (received < 0) return -1;
        if (received == 0) return failure.set("recvmsg", what, ECONNRESET);
        got += static_cast<size_t>(received);
    }
    return 0;
}

int address_of(const char* path, sockaddr_un& address, Failure& failure) {
    address.sun_family = AF_UNIX;
    const size_t length = strlen(path);
    if (length >= sizeof address.sun_path) return failure.set("connect", path, ENAMETOOLONG);
    memcpy(address.sun_path, path, length);
    return 0;
}

}  // namespace

int await_readable(int socket, int timeout, Failure& failure) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout);
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        pollfd waiting = {socket, POLLIN, 0};
        const int ready = poll(&waiting, 1, std::max(static_cast<int>(left.count()), 0));
        if (ready > 0) return 0;
        if (ready == 0) return failure.set("poll", "packet", ETIMEDOUT);
        if (errno != EINTR) return failure.set("poll", "packet");
    }
}

int receive_packet(int socket, size_t limit, std::string& bytes, std::vector<Fd>& descriptors,
                   Failure& failure) {
    bytes.resize(limit);
    const ssize_t received = receive(socket, bytes.data(), limit, descriptors, "packet", failure);
    if (received < 0) return -1;
    bytes.resize(static_cast<size_t>(received));
    return 0;
}

int exchange(const char* path, const std::string& request, size_t limit, int seconds, std::string& reply,
             std::vector<Fd>& descriptors, Failure& failure) {
    sockaddr_un address = {};
    if (address_of(path, address, failure) < 0) return -1;
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return failure.set("socket", path);
    timeval patience = {};
    patience.tv_sec = seconds;
    if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        return failure.set("setsockopt", path);
    if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
        return failure.set("connect", path);
    for (size_t sent = 0; sent < request.size();) {
        const ssize_t part = send(socket.get(), request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return failure.set("send", path);
        sent += static_cast<size_t>(part);
    }
    unsigned char header[4] = {};
    if (receive_whole(socket.get(), reinterpret_cast<char*>(header), sizeof header, descriptors, path,
                      failure) < 0)
        return -1;
    const size_t length = static_cast<size_t>(header[0]) << 24 | static_cast<size_t>(header[1]) << 16 |
                          static_cast<size_t>(header[2]) << 8 | header[3];
    if (length > limit) return failure.set("recvmsg", path, EMSGSIZE);
    reply.resize(length);
    return receive_whole(socket.get(), reply.data(), length, descriptors, path, failure);
}

int send_datagram(const char* path, const char* message, Failure& failure) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const size_t length = strlen(path);
    if (length >= sizeof address.sun_path) return failure.set("connect", path, ENAMETOOLONG);
    memcpy(address.sun_path, path, length);
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return failure.set("socket", path);
    const socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + strlen(path));
    if (sendto(socket.get(), message, strlen(message), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
               size) < 0)
        return failure.set("sendto", path);
    return 0;
}

}  // namespace berth

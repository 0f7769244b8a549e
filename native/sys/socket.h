#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "failure.h"
#include "fd.h"

namespace berth {

struct Peer {
    pid_t pid = -1;
    uid_t uid = static_cast<uid_t>(-1);
    gid_t gid = static_cast<gid_t>(-1);
    Fd pidfd;
};

/// Who connected: SO_PEERCRED, and SO_PEERPIDFD where the kernel has it (Linux 6.5; otherwise pidfd_open(2)).
int peer_of(int socket, Peer& peer, Failure& failure);

/// sendmsg(2) with SCM_RIGHTS, without blocking. Returns the bytes taken, 0 when the socket is full.
ssize_t send_descriptors(int socket, const void* bytes, size_t length, const int* descriptors, int count,
                         Failure& failure);

/// A connected pair of Unix stream sockets.
int socket_pair(Fd& ours, Fd& theirs, Failure& failure);

/// A connected pair of Unix sockets that keep packets apart (SOCK_SEQPACKET).
int packet_pair(Fd& ours, Fd& theirs, Failure& failure);

/// send(2) of one packet, without waiting for room.
int send_packet(int socket, const void* bytes, size_t length, Failure& failure);

/// Waits until there is a packet or the other side has closed, `timeout` milliseconds at most: then it is
/// ETIMEDOUT.
int await_readable(int socket, int timeout, Failure& failure);

/// Waits for one packet with the descriptors that travel beside it, close-on-exec. An empty packet is the
/// end: the other side has closed. EMSGSIZE when it is longer than `limit` or brings more descriptors than
/// are taken.
int receive_packet(int socket, size_t limit, std::string& bytes, std::vector<Fd>& descriptors,
                   Failure& failure);

/// Connects to a Unix stream socket, sends `request` and waits at most `seconds` for each part of the reply:
/// a length of four bytes, the highest first, and that many bytes, at most `limit`, with the descriptors
/// beside their first.
int exchange(const char* path, const std::string& request, size_t limit, int seconds, std::string& reply,
             std::vector<Fd>& descriptors, Failure& failure);

/// One datagram to a Unix socket; a leading '@' names an abstract one (sd_notify(3)).
int send_datagram(const char* path, const char* message, Failure& failure);

}  // namespace berth

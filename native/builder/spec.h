#pragma once

#include <pb_decode.h>

#include <string>
#include <vector>

#include "../sys/failure.h"
#include "../sys/fd.h"
#include "berth.pb.h"

namespace berth::builder {

struct Mount {
    std::string source;
    std::string destination;
    bool read_only = false;
    bool optional = false;
    bool devices = false;
};

struct File {
    std::string path;
    std::string content;
    bool append_image = false;
    bool replace = false;
    std::string target;
    mode_t mode = 0644;
};

/// What berthd wants built: proto/berth.proto BuildSpec.
struct Spec {
    bool user_namespace = true;
    /// Does no image mount come, but one of FUSE has to be made?
    bool fuse = false;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> gids;
    std::string workspace;
    std::vector<Mount> mounts;
    std::vector<File> files;
};

/// Reads one frame with a BuildSpec from the socket.
int receive_spec(int socket, Spec& spec, Failure& failure);

/// Sends one frame with a BuildEvent.
int send_event(int socket, const berth_v1_BuildEvent& event, Failure& failure);

/// Waits for the detached image mount, which comes with one byte (unix(7), SCM_RIGHTS).
int receive_image(int socket, Fd& image, Failure& failure);

/// Waits for berthd's one-byte answer. An end of the connection means that berthd is gone.
int await_answer(int socket, Failure& failure);

}  // namespace berth::builder

#pragma once

#include <pb_decode.h>

#include <string>
#include <vector>

#include "../sys/failure.h"
#include "../sys/fd.h"
#include "berth.pb.h"

namespace berth::builder {

using MountKind = berth_v1_BuildMount_Kind;
constexpr MountKind kBind = berth_v1_BuildMount_Kind_KIND_BIND;
constexpr MountKind kTmpfs = berth_v1_BuildMount_Kind_KIND_TMPFS;
constexpr MountKind kDescriptor = berth_v1_BuildMount_Kind_KIND_DESCRIPTOR;

struct Mount {
    MountKind kind = kBind;
    std::string source;
    std::string destination;
    bool read_only = false;
    bool optional = false;
    bool devices = false;
    bool shallow = false;
    bool is_private = false;
    /// A user's: the policies count.
    bool checked = false;
    /// MiB of a tmpfs; 0 leaves it to the kernel.
    uint32_t size = 0;
};

struct File {
    std::string path;
    std::string content;
    bool append_image = false;
    bool replace = false;
    std::string target;
    mode_t mode = 0644;
};

/// Where a container's writes go.
struct Writable {
    bool wanted = false;
    /// MiB of a tmpfs; 0 leaves it to the kernel.
    uint32_t size = 0;
    /// A directory instead of a tmpfs, unless empty.
    std::string directory;
};

/// Namespaces that the container has of its own besides user and mount namespace.
struct Unshare {
    bool network = false;
    bool ipc = false;
    bool hostname = false;
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
    /// Is the user root in there? By a single id, so that other owners can only be pretended?
    bool root = false;
    bool pretend = false;
    Writable writable;
    Unshare unshare;
    std::vector<std::string> allowed_sources;
    std::vector<std::string> denied_sources;
    std::vector<std::string> denied_destinations;

    /// How many detached mounts berthd sends besides the image's.
    size_t descriptor_count() const;
    /// Is any of this a user's, so that the policies count?
    bool is_checked() const;
};

/// Reads one frame with a BuildSpec from the socket.
int receive_spec(int socket, Spec& spec, Failure& failure);

/// Sends one frame with a BuildEvent.
int send_event(int socket, const berth_v1_BuildEvent& event, Failure& failure);

/// Most detached mounts that come at once. proto/berth.proto, BuildMount.
constexpr size_t kMostDescriptors = 16;

/// Waits for just `count` detached mounts, which come with one byte (unix(7), SCM_RIGHTS).
int receive_mounts(int socket, size_t count, std::vector<Fd>& mounts, Failure& failure);

/// Waits for berthd's one-byte answer. An end of the connection means that berthd is gone.
int await_answer(int socket, Failure& failure);

}  // namespace berth::builder

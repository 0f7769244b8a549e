#pragma once

#include <string>
#include <vector>

#include "../sys/failure.h"
#include "../sys/fd.h"
#include "berth.pb.h"
#include "spec.h"

namespace berth::builder {

/// What is mounted: detached, and opened with the user's rights where it is the host's; and where it goes.
struct Source {
    const Mount* mount;
    Fd tree;
    bool is_directory = true;
};

/// Everything that a container is put together from, besides its image.
struct Sources {
    std::vector<Source> mounts;
    /// The user's directory that takes the writes; empty without one.
    Fd writable;
};

/// A step and, when it failed, why.
struct Progress {
    berth_v1_BuildStep step = berth_v1_BuildStep_BUILD_STEP_UNSPECIFIED;
    Failure failure;
    /// Where a policy was the reason rather than a system call.
    std::string reason;

    /// A user's mount that a policy refuses.
    int deny(const Mount& mount, const std::string& why);
};

/// Puts the detached mounts that berthd sent where a user namespace made after this finds them. Its mount
/// namespace gets copies whose attributes are locked: nobody in there, root or not, can have device nodes on
/// them work. To be called as root, in the caller's mount namespace, which is left for a copy.
int stage_mounts(const Spec& spec, const std::vector<Fd>& descriptors, Failure& failure);

/// Opens or makes everything that is mounted, before anything is mounted over the host's directories.
/// `descriptors` are the mounts that berthd sent; with a user namespace they were staged.
int open_sources(const Spec& spec, std::vector<Fd>& descriptors, Sources& sources, Progress& progress);

/// Mounts the empty tmpfs in which a container's root is put together, and opens it.
int make_workspace(const Spec& spec, Fd& workspace, Progress& progress);

/// Puts the container's root together in the workspace and makes it the root of this mount namespace:
///
///   workspace/skeleton   a tmpfs with the mount points and the files that Berth writes
///   workspace/image      the image
///   workspace/writable   what takes the writes of a writable container, above these two
///                        (both stay below /proc, to be found when the container is saved)
///   workspace/root       an overlay of them, with the sources mounted on it
///
/// Mount points are made in the skeleton, never inside the image, after following the image's own symbolic
/// links with the user's rights: see docs/adr/0003.
int build_root(const Spec& spec, int workspace, int image, const Sources& sources, Progress& progress);

}  // namespace berth::builder

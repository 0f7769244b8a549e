#pragma once

#include <string>
#include <vector>

#include "../sys/failure.h"
#include "../sys/fd.h"
#include "berth.pb.h"
#include "spec.h"

namespace berth::builder {

/// A mount source, opened with the user's rights and detached, and where it goes.
struct Source {
    const Mount* mount;
    Fd tree;
    bool is_directory = true;
};

/// A step and, when it failed, why.
struct Progress {
    berth_v1_BuildStep step = berth_v1_BuildStep_BUILD_STEP_UNSPECIFIED;
    Failure failure;
};

/// Clones every mount source with the user's rights, before anything is mounted over the host's directories.
int open_sources(const Spec& spec, std::vector<Source>& sources, Progress& progress);

/// Mounts the empty tmpfs in which a container's root is put together, and opens it.
int make_workspace(const Spec& spec, Fd& workspace, Progress& progress);

/// Puts the container's root together in the workspace and makes it the root of this mount namespace:
///
///   workspace/skeleton   a tmpfs with the mount points and the files that Berth writes
///   workspace/image      the image
///   workspace/root       an overlay of the two, read-only, with the sources mounted on it
///
/// Mount points are made in the skeleton, never inside the image, after following the image's own symbolic
/// links with the user's rights: see docs/adr/0003.
int build_root(const Spec& spec, int workspace, int image, std::vector<Source>& sources, Progress& progress);

}  // namespace berth::builder

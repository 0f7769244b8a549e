#pragma once

#include <string>
#include <vector>

#include "root.h"
#include "skeleton.h"
#include "spec.h"

namespace berth::builder {

/// Where a mount goes.
struct Place {
    /// As the site or the user wrote it, without "." and needless slashes.
    std::string written;
    /// In the container, once the image's symbolic links are followed.
    std::string resolved;
    /// Inside an earlier mount, where the image and the skeleton have no say?
    bool nested = false;
};

/// Finds the place of every mount, checks those of the user's against the policy, and makes mount points in
/// the skeleton.
int find_places(const Spec& spec, Skeleton& skeleton, const std::vector<Source>& mounts,
                std::vector<Place>& places, Progress& progress);

/// Attaches every mount at its place below `root`. A mount point that is missing in an earlier mount is made
/// there, with the user's rights; no symbolic link is followed there.
int attach_mounts(const Spec& spec, int root, const std::vector<Source>& mounts,
                  const std::vector<Place>& places, Failure& failure);

}  // namespace berth::builder

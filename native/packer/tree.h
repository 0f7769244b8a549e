#pragma once

#include "../sys/failure.h"
#include "archive.h"

namespace berth::packer {

/// How the layer that took the writes marks what is not in the image any more.
enum class Marks {
    /// user.overlay.*, of an overlay in a user namespace.
    kUser,
    /// trusted.overlay.*
    kTrusted,
    /// It is no such layer, but a whole file system.
    kNone,
};

/// Archives what is in a directory, itself included. As a layer of an image: what is marked as gone becomes a
/// whiteout (OCI image specification, layer.md). `process` is /proc/self, opened. Owners without a mapping in
/// this user namespace become root.
int archive_tree(int directory, int process, Marks marks, Archive& archive, Failure& failure);

}  // namespace berth::packer

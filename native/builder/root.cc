#include "root.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sys/mount.h"
#include "destinations.h"
#include "packages.h"
#include "skeleton.h"
#include "tmpfs.h"
#include "writable.h"

namespace berth::builder {
namespace {

// MiB. Directories and a few small files: what a container needs is some tens of KiB. The bound is the
// tmpfs's own default of half the memory otherwise, which a private mount namespace need not be able to fill.
constexpr uint32_t kSkeletonSize = 16;

int open_directory(int workspace, const char* name, Fd& directory, Failure& failure) {
    directory = Fd(openat(workspace, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    return directory ? 0 : failure.set("open", name);
}

int mount_overlay(const Spec& spec, int workspace, const UpperLayer& layer, Fd& root, Failure& failure) {
    const std::string lower = spec.workspace + "/skeleton:" + spec.workspace + "/image";
    // By descriptor: the user may put something else at the name of a directory of theirs.
    const std::string upper = "/proc/self/fd/" + std::to_string(layer.upper.get());
    const std::string work = "/proc/self/fd/" + std::to_string(layer.work.get());
    const bool writable = spec.writable.wanted;
    // userxattr: in a user namespace overlayfs cannot read trusted.* (Linux 5.11).
    std::vector<MountParameter> parameters = {{"source", "berth"}, {"lowerdir", lower.c_str()}};
    if (writable) parameters.push_back({"upperdir", upper.c_str()});
    if (writable) parameters.push_back({"workdir", work.c_str()});
    if (spec.user_namespace) parameters.push_back({"userxattr", nullptr});
    // What is written has to make sense without the overlay: in a user namespace it does anyway.
    for (const char* feature : {"redirect_dir", "metacopy"}) {
        if (writable && !spec.user_namespace) parameters.push_back({feature, "off"});
    }
    parameters.push_back({nullptr, nullptr});
    const uint64_t attributes = kMountNoSuid | kMountNoDev | (writable ? 0 : kMountReadOnly);
    const Fd overlay = new_mount("overlay", parameters.data(), attributes, failure);
    if (!overlay) return -1;
    if (attach(overlay.get(), workspace, "root", failure) < 0) return -1;
    return open_directory(workspace, "root", root, failure);
}

/// Leaves the layers of a writable container where `berth-packer` finds what was written, when the container
/// is saved (docs/adr/0020): under the mount of /proc, where no path leads, the image and above it the layer
/// that takes the writes.
int keep_layers(const Spec& spec, int root, const std::vector<Source>& mounts,
                const std::vector<Place>& places, Failure& failure) {
    if (!spec.writable.wanted) return 0;
    for (size_t i = 0; i < mounts.size(); i++) {
        if (places[i].written != "/proc" || !mounts[i].is_directory) continue;
        const Fd target =
            open_in_root(root, places[i].resolved.c_str(), O_PATH | O_NOFOLLOW | O_DIRECTORY, false, failure);
        if (!target) return -1;
        for (const char* name : {"/image", "/writable"}) {
            const Fd layer = clone_tree((spec.workspace + name).c_str(), false, failure);
            if (!layer || attach_at(layer.get(), target.get(), name, failure) < 0) return -1;
        }
    }
    return 0;
}

/// The overlay of all layers. `image` and `skeleton` are there already.
int make_root(const Spec& spec, int workspace, const Fd& directory, Skeleton& skeleton, Fd& root,
              Progress& progress) {
    Failure& failure = progress.failure;
    progress.step = berth_v1_BuildStep_BUILD_STEP_ROOT;
    UpperLayer layer;
    if (!spec.writable.wanted) return mount_overlay(spec, workspace, layer, root, failure);
    if (!spec.writable.directory.empty()) progress.step = berth_v1_BuildStep_BUILD_STEP_WRITABLE;
    if (make_upper(spec, workspace, directory, layer, failure) < 0) return -1;
    if (skeleton.copy_top(layer.upper.get(), failure) < 0) return -1;
    return mount_overlay(spec, workspace, layer, root, failure);
}

}  // namespace

int make_workspace(const Spec& spec, Fd& workspace, Progress& progress) {
    Failure& failure = progress.failure;
    progress.step = berth_v1_BuildStep_BUILD_STEP_ROOT;
    const Fd tmpfs = new_tmpfs(kSkeletonSize, geteuid(), getegid(), failure);
    if (!tmpfs) return -1;
    if (attach(tmpfs.get(), AT_FDCWD, spec.workspace.c_str(), failure) < 0) return -1;
    workspace = Fd(open(spec.workspace.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!workspace) return failure.set("open", spec.workspace.c_str());
    for (const char* name : {"skeleton", "image", "root"}) {
        if (mkdirat(workspace.get(), name, 0755) < 0) return failure.set("mkdir", name);
    }
    return 0;
}

int build_root(const Spec& spec, int workspace, int image, const Sources& sources, Progress& progress) {
    Failure& failure = progress.failure;
    progress.step = berth_v1_BuildStep_BUILD_STEP_IMAGE;
    if (attach(image, workspace, "image", failure) < 0) return -1;
    Fd layer;
    Fd image_root;
    if (open_directory(workspace, "skeleton", layer, failure) < 0) return -1;
    if (open_directory(workspace, "image", image_root, failure) < 0) return -1;

    progress.step = berth_v1_BuildStep_BUILD_STEP_MOUNT_DESTINATION;
    Skeleton skeleton(spec, layer.get(), image_root.get());
    if (skeleton.copy_top(failure) < 0) return -1;
    for (const File& file : spec.files) {
        if (skeleton.write_file(file, failure) < 0) return -1;
    }
    std::vector<Place> places;
    if (find_places(spec, skeleton, sources.mounts, places, progress) < 0) return -1;
    if (help_package_managers(spec, skeleton, failure) < 0) return -1;

    Fd root;
    if (make_root(spec, workspace, sources.writable, skeleton, root, progress) < 0) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_MOUNT_DESTINATION;
    if (keep_layers(spec, root.get(), sources.mounts, places, failure) < 0) return -1;
    if (attach_mounts(spec, root.get(), sources.mounts, places, failure) < 0) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_ROOT;
    return change_root(root.get(), failure);
}

}  // namespace berth::builder

#include "root.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sys/mount.h"
#include "identity.h"
#include "skeleton.h"

namespace berth::builder {
namespace {

// Directories and a few small files: what a container needs is some tens of KiB. The bound is the tmpfs's own
// default of half the memory otherwise, which a private mount namespace need not be able to fill.
constexpr char kSkeletonSize[] = "16m";

int open_directory(int workspace, const char* name, Fd& directory, Failure& failure) {
    directory = Fd(openat(workspace, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    return directory ? 0 : failure.set("open", name);
}

int mount_overlay(const Spec& spec, int workspace, Fd& root, Failure& failure) {
    const std::string lower = spec.workspace + "/skeleton:" + spec.workspace + "/image";
    // userxattr: in a user namespace overlayfs cannot read trusted.* (Linux 5.11).
    const MountParameter parameters[] = {
        {"source", "berth"},
        {"lowerdir", lower.c_str()},
        {spec.user_namespace ? "userxattr" : nullptr, nullptr},
        {nullptr, nullptr},
    };
    const Fd overlay = new_mount("overlay", parameters, kMountReadOnly | kMountNoSuid | kMountNoDev, failure);
    if (!overlay) return -1;
    if (attach(overlay.get(), workspace, "root", failure) < 0) return -1;
    return open_directory(workspace, "root", root, failure);
}

int attach_source(const Spec& spec, const Source& source, int root, const std::string& resolved,
                  Failure& failure) {
    const LookUpAsUser as_user(spec, failure);
    if (as_user.failed()) return -1;
    // The destination was resolved and made before: a symbolic link on the way now would be a surprise.
    const int kind = source.is_directory ? O_DIRECTORY : 0;
    const Fd target = open_in_root(root, resolved.c_str(), O_PATH | O_NOFOLLOW | kind, false, failure);
    if (!target) return -1;
    return attach_at(source.tree.get(), target.get(), resolved.c_str(), failure);
}

}  // namespace

int make_workspace(const Spec& spec, Fd& workspace, Progress& progress) {
    Failure& failure = progress.failure;
    progress.step = berth_v1_BuildStep_BUILD_STEP_ROOT;
    const MountParameter parameters[] = {{"mode", "0755"}, {"size", kSkeletonSize}, {nullptr, nullptr}};
    const Fd tmpfs = new_mount("tmpfs", parameters, kMountNoSuid | kMountNoDev, failure);
    if (!tmpfs) return -1;
    if (attach(tmpfs.get(), AT_FDCWD, spec.workspace.c_str(), failure) < 0) return -1;
    workspace = Fd(open(spec.workspace.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!workspace) return failure.set("open", spec.workspace.c_str());
    for (const char* name : {"skeleton", "image", "root"}) {
        if (mkdirat(workspace.get(), name, 0755) < 0) return failure.set("mkdir", name);
    }
    return 0;
}

int build_root(const Spec& spec, int workspace, int image, std::vector<Source>& sources, Progress& progress) {
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
    std::vector<std::string> destinations;
    for (const Source& source : sources) {
        std::string resolved;
        if (skeleton.resolve(source.mount->destination, resolved, failure) < 0) return -1;
        if (skeleton.make_mount_point(resolved, source.is_directory, failure) < 0) return -1;
        destinations.push_back(std::move(resolved));
    }

    progress.step = berth_v1_BuildStep_BUILD_STEP_ROOT;
    Fd root;
    if (mount_overlay(spec, workspace, root, failure) < 0) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_MOUNT_DESTINATION;
    for (size_t i = 0; i < sources.size(); i++) {
        if (attach_source(spec, sources[i], root.get(), destinations[i], failure) < 0) return -1;
    }
    progress.step = berth_v1_BuildStep_BUILD_STEP_ROOT;
    return change_root(root.get(), failure);
}

}  // namespace berth::builder

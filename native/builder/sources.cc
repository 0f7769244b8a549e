#include <sys/stat.h>

#include "../sys/mount.h"
#include "identity.h"
#include "root.h"

namespace berth::builder {
namespace {

/// Something that an optional mount may lack: it is not there, or not for this user.
bool is_absence(int error) {
    return error == ENOENT || error == ENOTDIR || error == EACCES;
}

int open_source(const Mount& mount, std::vector<Source>& sources, Failure& failure) {
    Fd tree = clone_tree(mount.source.c_str(), failure);
    if (!tree) return mount.optional && is_absence(failure.error) ? 0 : -1;
    struct stat status = {};
    if (fstat(tree.get(), &status) < 0) return failure.set("fstat", mount.source.c_str());
    uint64_t attributes = kMountNoSuid;
    if (!mount.devices) attributes |= kMountNoDev;
    if (mount.read_only) attributes |= kMountReadOnly;
    if (add_attributes(tree.get(), attributes, true, mount.source.c_str(), failure) < 0) return -1;
    sources.push_back({&mount, std::move(tree), S_ISDIR(status.st_mode)});
    return 0;
}

}  // namespace

int open_sources(const Spec& spec, std::vector<Source>& sources, Progress& progress) {
    progress.step = berth_v1_BuildStep_BUILD_STEP_CREDENTIALS;
    const LookUpAsUser as_user(spec, progress.failure);
    if (as_user.failed()) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_MOUNT_SOURCE;
    sources.reserve(spec.mounts.size());
    for (const Mount& mount : spec.mounts) {
        if (open_source(mount, sources, progress.failure) < 0) return -1;
    }
    return 0;
}

}  // namespace berth::builder

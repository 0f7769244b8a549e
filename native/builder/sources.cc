#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "../sys/mount.h"
#include "identity.h"
#include "paths.h"
#include "policy.h"
#include "root.h"
#include "tmpfs.h"
#include "writable.h"

namespace berth::builder {
namespace {

/// Something that an optional mount may lack: it is not there, or not for this user.
bool is_absence(int error) {
    return error == ENOENT || error == ENOTDIR || error == EACCES;
}

uint64_t attributes_of(const Mount& mount) {
    return kMountNoSuid | (mount.devices ? 0 : kMountNoDev) | (mount.read_only ? kMountReadOnly : 0);
}

std::string stage_of(const Spec& spec, size_t index) {
    return spec.workspace + "/" + std::to_string(index);
}

/// open_tree(2) says no more than EINVAL. Always -1.
int explain(const Mount& mount, Progress& progress) {
    if (mount.shallow && progress.failure.error == EINVAL)
        progress.reason = "something is mounted below it, and what that hides would come to light without it";
    return -1;
}

/// Clones what a user named, if the policy lets them. The very file whose name was checked is cloned: the
/// name may lead elsewhere by now.
int open_checked(const Spec& spec, const Mount& mount, const SourcePolicy& policy, Fd& tree,
                 Progress& progress) {
    Failure& failure = progress.failure;
    const char* source = mount.source.c_str();
    // No magic links: /proc/self/fd has the builder's own.
    const Fd opened = open_path(source, 0, failure);
    if (!opened) return -1;
    std::string name;
    if (name_of(opened.get(), name, failure) < 0) return -1;
    const std::string refusal = policy.refusal(name);
    if (!refusal.empty()) return progress.deny(mount, refusal);
    // In a user namespace the kernel sees to this itself.
    const int covered = mount.shallow && !spec.user_namespace ? has_mounts_below(name, failure) : 0;
    if (covered != 0) return covered < 0 ? -1 : failure.set("open_tree", source, EINVAL);
    tree = clone_opened(opened.get(), !mount.shallow, source, failure);
    return tree ? 0 : -1;
}

int open_bind(const Spec& spec, const Mount& mount, const SourcePolicy* policy, Fd& tree,
              Progress& progress) {
    Failure& failure = progress.failure;
    if (mount.checked) {
        if (open_checked(spec, mount, *policy, tree, progress) < 0) return explain(mount, progress);
    } else {
        tree = clone_tree(mount.source.c_str(), !mount.shallow, failure);
        if (!tree) return explain(mount, progress);
    }
    const char* source = mount.source.c_str();
    if (mount.is_private && make_private(tree.get(), true, source, failure) < 0) return -1;
    return add_attributes(tree.get(), attributes_of(mount), true, source, failure);
}

int open_descriptor(const Spec& spec, const Mount& mount, size_t index, Fd& descriptor, Fd& tree,
                    Failure& failure) {
    if (spec.user_namespace) {
        tree = clone_tree(stage_of(spec, index).c_str(), true, failure);
        return tree ? 0 : -1;
    }
    tree = std::move(descriptor);
    return add_attributes(tree.get(), attributes_of(mount), true, mount.source.c_str(), failure);
}

int open_one(const Spec& spec, const Mount& mount, const SourcePolicy* policy, std::vector<Fd>& descriptors,
             size_t& index, Fd& tree, Progress& progress) {
    if (mount.kind == kDescriptor) {
        const size_t number = index++;
        return open_descriptor(spec, mount, number, descriptors[number], tree, progress.failure);
    }
    if (mount.kind == kBind) return open_bind(spec, mount, policy, tree, progress);
    const uid_t uid = spec.user_namespace ? geteuid() : spec.uid;
    const gid_t gid = spec.user_namespace ? getegid() : spec.gid;
    tree = new_tmpfs(mount.size, uid, gid, progress.failure);
    if (!tree || !mount.read_only) return tree ? 0 : -1;
    return add_attributes(tree.get(), kMountReadOnly, false, mount.destination.c_str(), progress.failure);
}

}  // namespace

int Progress::deny(const Mount& mount, const std::string& why) {
    step = berth_v1_BuildStep_BUILD_STEP_MOUNT_DENIED;
    reason = why;
    const std::string what = (mount.source.empty() ? "tmpfs" : mount.source) + ":" + mount.destination;
    return failure.set("", what.c_str(), EPERM);
}

int stage_mounts(const Spec& spec, const std::vector<Fd>& descriptors, Failure& failure) {
    if (unshare(CLONE_NEWNS) < 0) return failure.set("unshare", "mount namespace");
    if (make_slave("/", failure) < 0) return -1;
    const Fd tmpfs = new_tmpfs(1, 0, 0, failure);
    if (!tmpfs || attach(tmpfs.get(), AT_FDCWD, spec.workspace.c_str(), failure) < 0) return -1;
    size_t index = 0;
    for (const Mount& mount : spec.mounts) {
        if (mount.kind != kDescriptor) continue;
        const std::string stage = stage_of(spec, index);
        if (mkdir(stage.c_str(), 0755) < 0) return failure.set("mkdir", stage.c_str());
        const int descriptor = descriptors[index++].get();
        const char* source = mount.source.c_str();
        if (add_attributes(descriptor, attributes_of(mount), true, source, failure) < 0) return -1;
        if (attach(descriptor, AT_FDCWD, stage.c_str(), failure) < 0) return -1;
    }
    return 0;
}

int open_sources(const Spec& spec, std::vector<Fd>& descriptors, Sources& sources, Progress& progress) {
    Failure& failure = progress.failure;
    progress.step = berth_v1_BuildStep_BUILD_STEP_CREDENTIALS;
    const LookUpAsUser as_user(spec, failure);
    if (as_user.failed()) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_MOUNT_SOURCE;
    std::unique_ptr<SourcePolicy> policy;
    if (spec.is_checked()) policy = std::make_unique<SourcePolicy>(spec.allowed_sources, spec.denied_sources);
    sources.mounts.reserve(spec.mounts.size());
    size_t index = 0;
    for (const Mount& mount : spec.mounts) {
        Source source = {&mount, Fd(), true};
        if (open_one(spec, mount, policy.get(), descriptors, index, source.tree, progress) < 0) {
            const bool denied = progress.step != berth_v1_BuildStep_BUILD_STEP_MOUNT_SOURCE;
            if (denied || !mount.optional || !is_absence(failure.error)) return -1;
            continue;
        }
        struct stat status = {};
        if (fstat(source.tree.get(), &status) < 0) return failure.set("fstat", mount.source.c_str());
        source.is_directory = S_ISDIR(status.st_mode);
        sources.mounts.push_back(std::move(source));
    }
    if (spec.writable.directory.empty()) return 0;
    return open_writable(spec, *policy, sources.writable, progress);
}

}  // namespace berth::builder

#include "writable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sys/mount.h"
#include "identity.h"
#include "paths.h"
#include "tmpfs.h"

namespace berth::builder {
namespace {

int open_or_make(int directory, const char* name, Fd& made, Failure& failure) {
    if (mkdirat(directory, name, 0755) < 0 && errno != EEXIST) return failure.set("mkdir", name);
    made = Fd(openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    return made ? 0 : failure.set("open", name);
}

}  // namespace

int open_writable(const Spec& spec, const SourcePolicy& policy, Fd& tree, Progress& progress) {
    Failure& failure = progress.failure;
    const char* directory = spec.writable.directory.c_str();
    progress.step = berth_v1_BuildStep_BUILD_STEP_WRITABLE;
    if (!spec.user_namespace) {
        // Root would copy a setuid file of the user's image there, with its owner, where it works.
        progress.reason = "this site runs containers without user namespaces, where only memory can take it";
        return failure.set("", directory, EPERM);
    }
    const Fd opened = open_path(directory, O_DIRECTORY, failure);
    std::string name;
    if (!opened || name_of(opened.get(), name, failure) < 0) return -1;
    const std::string refusal = policy.refusal(name);
    if (!refusal.empty()) {
        progress.step = berth_v1_BuildStep_BUILD_STEP_MOUNT_DENIED;
        progress.reason = refusal;
        return failure.set("", directory, EPERM);
    }
    tree = clone_opened(opened.get(), true, directory, failure);
    if (!tree) return -1;
    return add_attributes(tree.get(), kMountNoSuid | kMountNoDev, true, directory, failure);
}

int make_upper(const Spec& spec, int workspace, const Fd& tree, UpperLayer& layer, Failure& failure) {
    if (mkdirat(workspace, "writable", 0755) < 0) return failure.set("mkdir", "writable");
    Fd tmpfs;
    if (!tree) {
        tmpfs = new_tmpfs(spec.writable.size, geteuid(), getegid(), failure);
        if (!tmpfs) return -1;
    }
    if (attach(tree ? tree.get() : tmpfs.get(), workspace, "writable", failure) < 0) return -1;
    const Fd top(openat(workspace, "writable", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!top) return failure.set("open", spec.writable.directory.c_str());
    if (open_or_make(top.get(), "upper", layer.upper, failure) < 0) return -1;
    return open_or_make(top.get(), "work", layer.work, failure);
}

}  // namespace berth::builder

// The packer: berthd's child that archives what was written in a container, when that is saved. It enters the
// container with its user's rights and finds there the layer that took the writes, which the builder has left
// below the mount of /proc (docs/adr/0020).
//
//   berth-packer changes|image UID GID [GID...]
//
// Standard output is where the archive goes: of the changes as a layer of an image, or of the whole image.
// Descriptor 3 is the container's mount namespace; 4 its user namespace, where it has one, else /dev/null.
// Takes no environment. What fails is a line on standard error.

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "../sys/credentials.h"
#include "../sys/fd.h"
#include "archive.h"
#include "tree.h"

namespace berth::packer {
namespace {

constexpr int kMountNamespace = 3;
constexpr int kUserNamespace = 4;
constexpr const char* kCover = "/proc";

struct Order {
    bool whole_image = false;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> gids;
};

int become(const Order& order, Failure& failure) {
    if (become_user({order.uid, order.gid, order.gids}, failure) < 0) return -1;
    if (renounce_privileges(failure) < 0) return -1;
    return die_with_parent(failure);
}

/// Without a user namespace: what is looked up and read is with the user's rights. The one capability left is
/// that of reading trusted extended attributes.
int look_as_user(const Order& order, Failure& failure) {
    if (take_filesystem_ids({order.uid, order.gid, order.gids}, failure) < 0) return -1;
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {};
    kept[0].effective = kept[0].permitted = 1U << CAP_SYS_ADMIN;
    if (syscall(SYS_capset, &header, kept) < 0) return failure.set("capset", "CAP_SYS_ADMIN alone");
    return die_with_parent(failure);
}

/// Into a copy of the container's mount namespace, without the mount that covers the layers.
int uncover(bool whole_image, Failure& failure) {
    if (unshare(CLONE_NEWNS) < 0) return failure.set("unshare", "mount namespace");
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
        return failure.set("mount", "MS_PRIVATE");
    for (int covers = whole_image ? 2 : 1; covers > 0; covers--) {
        if (umount2(kCover, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) return failure.set("umount2", kCover);
    }
    return 0;
}

int pack(const Order& order, Failure& failure) {
    if (die_with_parent(failure) < 0) return -1;
    const bool has_user_namespace = ioctl(kUserNamespace, NS_GET_NSTYPE) == CLONE_NEWUSER;
    if (has_user_namespace) {
        if (become(order, failure) < 0) return -1;
        if (setns(kUserNamespace, CLONE_NEWUSER) < 0)
            return failure.set("setns", "the container's user namespace");
    }
    if (setns(kMountNamespace, CLONE_NEWNS) < 0)
        return failure.set("setns", "the container's mount namespace");
    // Before it is gone: which ids are mapped is looked up there.
    const Fd self(open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (uncover(order.whole_image, failure) < 0) return -1;
    const char* name = order.whole_image ? kCover : "/proc/upper";
    const Fd top(open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!top) return failure.set("open", name);
    if (!has_user_namespace && look_as_user(order, failure) < 0) return -1;
    Archive archive(STDOUT_FILENO);
    const Marks marks = order.whole_image    ? Marks::kNone
                        : has_user_namespace ? Marks::kUser
                                             : Marks::kTrusted;
    return archive_tree(top.get(), self.get(), marks, archive, failure);
}

bool parse(int argc, char** argv, Order& order) {
    if (argc < 4) return false;
    order.whole_image = std::strcmp(argv[1], "image") == 0;
    order.uid = static_cast<uid_t>(std::strtoul(argv[2], nullptr, 10));
    order.gid = static_cast<gid_t>(std::strtoul(argv[3], nullptr, 10));
    for (int i = 4; i < argc; i++)
        order.gids.push_back(static_cast<gid_t>(std::strtoul(argv[i], nullptr, 10)));
    return order.whole_image || std::strcmp(argv[1], "changes") == 0;
}

}  // namespace
}  // namespace berth::packer

int main(int argc, char** argv) {
    using namespace berth;
    packer::Order order;
    if (!packer::parse(argc, argv, order)) return 2;
    // A reader that has had enough says why itself.
    signal(SIGPIPE, SIG_DFL);
    Failure failure;
    if (packer::pack(order, failure) == 0) return 0;
    std::fprintf(stderr, "%s: %s: %s\n", failure.call, failure.object, std::strerror(failure.error));
    return 1;
}

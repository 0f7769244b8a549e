#include "fuse.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "../sys/mount.h"

namespace berth::builder {

int mount_fuse(Fd& device, Fd& image, Failure& failure) {
    device = Fd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!device) return failure.set("open", "/dev/fuse");
    const std::string descriptor = std::to_string(device.get());
    const std::string uid = std::to_string(geteuid());
    const std::string gid = std::to_string(getegid());
    // The server knows no permissions: with default_permissions the kernel goes by the image's, as it does
    // with its own squashfs. allow_other lets in who is in this user namespace and no others; without it a
    // rank with another group id than the builder's would be shut out.
    const MountParameter parameters[] = {
        {"source", "berth"},      {"subtype", "squashfuse"},        {"fd", descriptor.c_str()},
        {"rootmode", "40000"},    {"user_id", uid.c_str()},         {"group_id", gid.c_str()},
        {"allow_other", nullptr}, {"default_permissions", nullptr}, {nullptr, nullptr},
    };
    image = new_mount("fuse", parameters, kMountReadOnly | kMountNoSuid | kMountNoDev, failure);
    return image ? 0 : -1;
}

}  // namespace berth::builder

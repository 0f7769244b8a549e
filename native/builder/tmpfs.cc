#include "tmpfs.h"

#include <string>

#include "../sys/mount.h"

namespace berth::builder {

Fd new_tmpfs(uint32_t size, uid_t uid, gid_t gid, Failure& failure) {
    constexpr uint64_t kPagesPerMebibyte = 256;
    const std::string owner = std::to_string(uid);
    const std::string group = std::to_string(gid);
    const std::string bytes = std::to_string(size) + "m";
    const std::string files = std::to_string(size * kPagesPerMebibyte);
    const bool limited = size > 0;
    const MountParameter parameters[] = {
        {"source", "berth"},
        {"mode", "0755"},
        {"uid", owner.c_str()},
        {"gid", group.c_str()},
        {limited ? "size" : nullptr, bytes.c_str()},
        {limited ? "nr_inodes" : nullptr, files.c_str()},
        {nullptr, nullptr},
    };
    return new_mount("tmpfs", parameters, kMountNoSuid | kMountNoDev, failure);
}

}  // namespace berth::builder

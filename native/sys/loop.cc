#include "loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdio>

namespace berth {
namespace {

// Another program may take the free device between LOOP_CTL_GET_FREE and LOOP_CONFIGURE.
constexpr int kAttempts = 64;

constexpr unsigned kSector = 512;
constexpr unsigned kPage = 4096;

LoopDevice open_device(int index, int access, Failure& failure) {
    LoopDevice device;
    device.index = index;
    std::snprintf(device.path, sizeof device.path, "/dev/loop%d", index);
    device.fd = Fd(open(device.path, access | O_CLOEXEC | O_NOFOLLOW));
    if (!device.fd) failure.set("open", device.path);
    return device;
}

bool serves(const LoopDevice& device, const struct stat& file) {
    loop_info64 info = {};
    if (ioctl(device.fd.get(), LOOP_GET_STATUS64, &info) < 0) return false;
    return info.lo_inode == file.st_ino && info.lo_device == file.st_dev && info.lo_offset == 0 &&
           info.lo_sizelimit == 0 && (info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
}

/// The largest size that leaves none of the file out: a device ends with its last whole block. Reading
/// squashfs in blocks of a page, the kernel keeps what its metadata blocks share (Linux 6.3), and reads less
/// often.
unsigned block_size_for(const struct stat& file) {
    return file.st_size % kPage == 0 ? kPage : kSector;
}

/// Attaches the file to a device that nobody uses. Its descriptor has this access.
LoopDevice attach_free(int file, const loop_config& config, int access, Failure& failure) {
    Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!control) {
        failure.set("open", "/dev/loop-control");
        return {};
    }
    for (int attempt = 0; attempt < kAttempts; attempt++) {
        const int index = ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (index < 0) {
            failure.set("ioctl LOOP_CTL_GET_FREE", "/dev/loop-control");
            return {};
        }
        LoopDevice device = open_device(index, access, failure);
        if (!device.fd) return {};
        loop_config attempted = config;
        attempted.fd = static_cast<__u32>(file);
        attempted.info.lo_flags |= LO_FLAGS_AUTOCLEAR;
        if (ioctl(device.fd.get(), LOOP_CONFIGURE, &attempted) == 0) return device;
        if (errno != EBUSY) {
            failure.set("ioctl LOOP_CONFIGURE", device.path);
            return {};
        }
    }
    failure.set("ioctl LOOP_CONFIGURE", "every loop device was taken by others", EBUSY);
    return {};
}

}  // namespace

LoopDevice attach_loop(int file, int candidate, Failure& failure) {
    struct stat status = {};
    if (fstat(file, &status) < 0) {
        failure.set("fstat", "image file");
        return {};
    }
    if (candidate >= 0) {
        Failure ignored;
        // Read-only: a writable opening of a device under a mount is refused where the kernel guards against
        // it.
        LoopDevice device = open_device(candidate, O_RDONLY, ignored);
        if (device.fd && serves(device, status)) return device;
    }
    loop_config config = {};
    config.block_size = block_size_for(status);
    config.info.lo_flags = LO_FLAGS_READ_ONLY;
    return attach_free(file, config, O_RDONLY, failure);
}

LoopDevice attach_writable_loop(int file, Failure& failure) {
    loop_config config = {};
    config.block_size = kPage;
    LoopDevice device = attach_free(file, config, O_RDWR, failure);
    if (!device.fd) return {};
    // Before the first is closed, or the device would be free again.
    LoopDevice reader = open_device(device.index, O_RDONLY, failure);
    return reader;
}

}  // namespace berth

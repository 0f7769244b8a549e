#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "../sys/file.h"
#include "../sys/loop.h"
#include "../sys/mount.h"
#include "border.h"

namespace berth::addon {
namespace {

struct ImageMount {
    int image = -1;
    int candidate = -1;
    std::string filesystem;
    Fd mount;
    int loop_index = -1;
    int64_t loop_us = 0;
    int64_t mount_us = 0;
};

int64_t since(std::chrono::steady_clock::time_point start) {
    const auto passed = std::chrono::steady_clock::now() - start;
    return std::chrono::duration_cast<std::chrono::microseconds>(passed).count();
}

int mount_image(ImageMount& task, Failure& failure) {
    const auto start = std::chrono::steady_clock::now();
    const LoopDevice device = attach_loop(task.image, task.candidate, failure);
    if (!device.fd) return -1;
    task.loop_index = device.index;
    task.loop_us = since(start);
    const auto mounting = std::chrono::steady_clock::now();
    const MountParameter parameters[] = {{"source", device.path}, {"ro", nullptr}, {nullptr, nullptr}};
    task.mount =
        new_mount(task.filesystem.c_str(), parameters, kMountReadOnly | kMountNoSuid | kMountNoDev, failure);
    task.mount_us = since(mounting);
    return task.mount ? 0 : -1;
}

Napi::Value to_value(Napi::Env env, ImageMount& task) {
    Napi::Object value = Napi::Object::New(env);
    value.Set("mount", task.mount.release());
    value.Set("loopIndex", task.loop_index);
    value.Set("loopMicroseconds", static_cast<double>(task.loop_us));
    value.Set("mountMicroseconds", static_cast<double>(task.mount_us));
    return value;
}

Napi::Value mount_image_binding(const Napi::CallbackInfo& info) {
    ImageMount task;
    task.image = integer(info, 0);
    task.filesystem = text(info, 1);
    task.candidate = integer(info, 2);
    return Task<ImageMount>::run(info.Env(), std::move(task), mount_image, to_value);
}

struct StoredImage {
    std::string path;
    uid_t owner;
    off_t size;
    struct stat status = {};
    bool trusted = false;
    ImageMount image;
};

int mount_stored_image(StoredImage& task, Failure& failure) {
    const Fd file = open_file(task.path.c_str(), task.status, failure);
    if (!file) return -1;
    const struct stat& status = task.status;
    task.trusted = S_ISREG(status.st_mode) && status.st_uid == task.owner &&
                   (status.st_mode & (S_IWGRP | S_IWOTH)) == 0 && status.st_size == task.size;
    if (!task.trusted) return 0;
    task.image.image = file.get();
    return mount_image(task.image, failure);
}

Napi::Value stored_to_value(Napi::Env env, StoredImage& task) {
    if (task.trusted) return to_value(env, task.image);
    Napi::Object value = Napi::Object::New(env);
    set_status(value, task.status);
    return value;
}

Napi::Value mount_stored_image_binding(const Napi::CallbackInfo& info) {
    StoredImage task;
    task.path = text(info, 0);
    task.owner = static_cast<uid_t>(info[1].As<Napi::Number>().Uint32Value());
    task.size = static_cast<off_t>(info[2].As<Napi::Number>().Int64Value());
    task.image.filesystem = text(info, 3);
    task.image.candidate = integer(info, 4);
    return Task<StoredImage>::run(info.Env(), std::move(task), mount_stored_image, stored_to_value);
}

struct CacheMount {
    int file = -1;
    std::string filesystem;
    uid_t uid;
    gid_t gid;
    Fd mount;
};

/// What mkfs left is root's; the user gets it as a directory of theirs, and empty.
int give_away(const CacheMount& task, Failure& failure) {
    const Fd root(openat(task.mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root) return failure.set("open", "the cache's directory");
    if (unlinkat(root.get(), "lost+found", AT_REMOVEDIR) < 0 && errno != ENOENT)
        return failure.set("unlink", "lost+found");
    if (fchmod(root.get(), 0700) < 0) return failure.set("fchmod", "the cache's directory");
    if (fchown(root.get(), task.uid, task.gid) < 0) return failure.set("fchown", "the cache's directory");
    return 0;
}

int mount_cache(CacheMount& task, Failure& failure) {
    const LoopDevice device = attach_writable_loop(task.file, failure);
    if (!device.fd) return -1;
    // The file goes with the mount, so nothing is gained by having the device write down what fsync(2) asks
    // for: ext4 can be told (see docs/adr/0019). xfs gives deleted files' room back meanwhile, which costs it
    // nothing.
    const bool is_ext4 = task.filesystem == "ext4";
    const MountParameter parameters[] = {
        {"source", device.path},
        {is_ext4 ? "nobarrier" : "discard", nullptr},
        {is_ext4 ? "noinit_itable" : nullptr, nullptr},
        {nullptr, nullptr},
    };
    task.mount =
        new_mount(task.filesystem.c_str(), parameters, kMountNoSuid | kMountNoDev | kMountNoAtime, failure);
    return task.mount ? give_away(task, failure) : -1;
}

Napi::Value cache_to_value(Napi::Env env, CacheMount& task) {
    return Napi::Number::New(env, task.mount.release());
}

Napi::Value mount_cache_binding(const Napi::CallbackInfo& info) {
    CacheMount task;
    task.file = integer(info, 0);
    task.filesystem = text(info, 1);
    task.uid = static_cast<uid_t>(info[2].As<Napi::Number>().Uint32Value());
    task.gid = static_cast<gid_t>(info[3].As<Napi::Number>().Uint32Value());
    return Task<CacheMount>::run(info.Env(), std::move(task), mount_cache, cache_to_value);
}

void idmap_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    if (idmap(integer(info, 0), integer(info, 1), failure) < 0) throw to_error(info.Env(), failure);
}

}  // namespace

void export_mounts(Napi::Env env, Napi::Object exports) {
    exports.Set("mountImage", Napi::Function::New(env, mount_image_binding));
    exports.Set("mountStoredImage", Napi::Function::New(env, mount_stored_image_binding));
    exports.Set("mountCache", Napi::Function::New(env, mount_cache_binding));
    exports.Set("idmapMount", Napi::Function::New(env, idmap_binding));
}

}  // namespace berth::addon

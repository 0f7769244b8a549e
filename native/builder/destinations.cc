#include "destinations.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sys/mount.h"
#include "identity.h"
#include "paths.h"
#include "policy.h"

namespace berth::builder {
namespace {

/// What the programs of a container, and Berth, rely on.
constexpr const char* kKernelDirectories[] = {"/proc", "/sys", "/dev"};

/// Denies a directory by its own name, and where the image has it. What cannot be looked up there cannot be
/// mounted on either.
void deny(Skeleton& skeleton, DestinationPolicy& policy, const std::string& directory, const char* why) {
    policy.deny(directory, why);
    std::string resolved;
    Failure ignored;
    if (skeleton.resolve(directory, resolved, ignored) == 0 && resolved != directory)
        policy.deny(resolved, why);
}

void fill_policy(const Spec& spec, Skeleton& skeleton, DestinationPolicy& policy) {
    for (const char* directory : kKernelDirectories)
        deny(skeleton, policy, directory, "which the container needs as it is");
    deny(skeleton, policy, "/.berth", "which has Berth's own files");
    for (const std::string& directory : spec.denied_destinations)
        deny(skeleton, policy, normalise(directory), "which the site keeps as it is");
    for (const std::string& file : skeleton.written()) policy.keep(file);
}

/// The earlier mount that a path lies inside of, the last one first: it covers those before it.
const Place* enclosing(const std::vector<Place>& places, const std::vector<Source>& mounts,
                       const std::string& path, std::string Place::*name) {
    for (size_t i = places.size(); i > 0; i--) {
        const Place& place = places[i - 1];
        if (place.*name != "/" && mounts[i - 1].is_directory && is_within(path, place.*name)) return &place;
    }
    return nullptr;
}

int find_place(Skeleton& skeleton, const std::vector<Source>& mounts, const std::vector<Place>& places,
               Place& place, Failure& failure) {
    // Inside an earlier mount the image's links do not count.
    const Place* outer = enclosing(places, mounts, place.written, &Place::written);
    if (outer != nullptr) {
        const std::string inner = place.written.substr(outer->written.size());
        if (has_dot_dot(inner)) return failure.set("openat2", place.written.c_str(), EINVAL);
        place.resolved = outer->resolved + inner;
        place.nested = true;
        return 0;
    }
    if (skeleton.resolve(place.written, place.resolved, failure) < 0) return -1;
    place.nested = enclosing(places, mounts, place.resolved, &Place::resolved) != nullptr;
    return 0;
}

/// Makes what is missing of a mount point inside an earlier mount.
int make_nested(int root, const std::string& resolved, bool is_directory, Failure& failure) {
    Fd directory(openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return failure.set("open", "the container's root");
    for (size_t start = 1; start < resolved.size();) {
        size_t end = resolved.find('/', start);
        const bool is_last = end == std::string::npos;
        if (is_last) end = resolved.size();
        const std::string name = resolved.substr(start, end - start);
        const std::string path = resolved.substr(0, end);
        const bool wants_file = is_last && !is_directory;
        const int kind = wants_file ? 0 : O_DIRECTORY;
        Fd next(openat(directory.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC | kind));
        if (!next && errno == ENOENT && wants_file) {
            const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
            next = Fd(openat(directory.get(), name.c_str(), flags, 0644));
            if (!next) return failure.set("open", path.c_str());
        } else if (!next && errno == ENOENT) {
            if (mkdirat(directory.get(), name.c_str(), 0755) < 0) return failure.set("mkdir", path.c_str());
            next = Fd(openat(directory.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        }
        if (!next) return failure.set("open", path.c_str());
        directory = std::move(next);
        start = end + 1;
    }
    return 0;
}

int attach_one(const Source& source, int root, const Place& place, Failure& failure) {
    const char* path = place.resolved.c_str();
    if (place.nested && make_nested(root, place.resolved, source.is_directory, failure) < 0) return -1;
    // The destination was resolved and made before: a symbolic link on the way now would be a surprise.
    const int kind = source.is_directory ? O_DIRECTORY : 0;
    const Fd target = open_in_root(root, path, O_PATH | O_NOFOLLOW | kind, false, failure);
    if (!target) return -1;
    return attach_at(source.tree.get(), target.get(), path, failure);
}

}  // namespace

int find_places(const Spec& spec, Skeleton& skeleton, const std::vector<Source>& mounts,
                std::vector<Place>& places, Progress& progress) {
    Failure& failure = progress.failure;
    DestinationPolicy policy;
    if (spec.is_checked()) fill_policy(spec, skeleton, policy);
    places.reserve(mounts.size());
    for (const Source& source : mounts) {
        const Mount& mount = *source.mount;
        if (mount.destination.empty() || mount.destination[0] != '/')
            return failure.set("openat2", mount.destination.c_str(), EINVAL);
        Place place;
        place.written = normalise(mount.destination);
        if (find_place(skeleton, mounts, places, place, failure) < 0) return -1;
        const std::string refusal = mount.checked ? policy.refusal(place.resolved) : "";
        if (!refusal.empty()) return progress.deny(mount, refusal);
        if (!place.nested && skeleton.make_mount_point(place.resolved, source.is_directory, failure) < 0)
            return -1;
        places.push_back(std::move(place));
    }
    return 0;
}

int attach_mounts(const Spec& spec, int root, const std::vector<Source>& mounts,
                  const std::vector<Place>& places, Failure& failure) {
    const LookUpAsUser as_user(spec, failure);
    if (as_user.failed()) return -1;
    for (size_t i = 0; i < mounts.size(); i++) {
        if (attach_one(mounts[i], root, places[i], failure) < 0) return -1;
    }
    return 0;
}

}  // namespace berth::builder

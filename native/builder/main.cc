// The builder: berthd's short-lived child that puts one container together and ends, leaving its namespaces
// to be pinned. It holds root's rights only until it has entered the caller's mount namespace; see
// docs/adr/0002.
//
// Descriptor 3 is the socket to berthd. Takes no arguments and no environment. What to build comes over the
// socket, which may be long after the start: first a pidfd of the process whose mount namespace is the
// starting point, then the specification, right after it other mounts of berthd's, and the image mount last:
// berthd has the image looked up and mounted while everything here is done that does not need it.

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "../sys/credentials.h"
#include "../sys/mount.h"
#include "../sys/socket.h"
#include "fuse.h"
#include "identity.h"
#include "others.h"
#include "root.h"
#include "spec.h"

namespace berth::builder {
namespace {

constexpr int kSocket = 3;

void set_text(char* target, size_t size, const char* text) {
    std::snprintf(target, size, "%s", text);
}

int report_failure(const Progress& progress) {
    berth_v1_BuildEvent event = berth_v1_BuildEvent_init_zero;
    event.kind = berth_v1_BuildEvent_Kind_KIND_FAILED;
    event.step = progress.step;
    set_text(event.call, sizeof event.call, progress.failure.call);
    set_text(event.object, sizeof event.object, progress.failure.object);
    set_text(event.reason, sizeof event.reason, progress.reason.c_str());
    event.error_number = static_cast<uint32_t>(progress.failure.error);
    Failure ignored;
    send_event(kSocket, event, ignored);
    return 1;
}

int report_and_wait(berth_v1_BuildEvent_Kind kind, Failure& failure) {
    berth_v1_BuildEvent event = berth_v1_BuildEvent_init_zero;
    event.kind = kind;
    if (send_event(kSocket, event, failure) < 0) return -1;
    return await_answer(kSocket, failure);
}

/// A pidfd of the process whose mount namespace is the starting point. It comes with one byte.
int receive_caller(Fd& caller, Failure& failure) {
    std::string byte;
    std::vector<Fd> received;
    if (receive_packet(kSocket, 1, byte, received, failure) < 0) return -1;
    if (received.size() != 1)
        return failure.set("recvmsg", "the caller", byte.empty() ? ECONNRESET : EBADMSG);
    caller = std::move(received.front());
    return 0;
}

/// From the caller's mount namespace to one of our own, in a user namespace of the user's where the site
/// allows that.
int enter_namespaces(const Spec& spec, Fd caller, const std::vector<Fd>& descriptors, Progress& progress) {
    Failure& failure = progress.failure;
    progress.step = berth_v1_BuildStep_BUILD_STEP_NAMESPACE;
    // setns(2) with a pidfd: Linux 5.8.
    if (setns(caller.get(), CLONE_NEWNS) < 0) return failure.set("setns", "the caller's mount namespace");
    caller.reset();
    const int others = other_namespaces(spec);
    if (!spec.user_namespace) {
        if (unshare(others) < 0) return failure.set("unshare", "network, IPC or UTS namespace");
        if (raise_loopback(spec, failure) < 0) return -1;
        if (keep_building_capabilities(failure) < 0) return -1;
        if (unshare(CLONE_NEWNS) < 0) return failure.set("unshare", "mount namespace");
        if (make_slave("/", failure) < 0) return -1;
        return report_and_wait(berth_v1_BuildEvent_Kind_KIND_NAMESPACES, failure);
    }
    if (!descriptors.empty() && stage_mounts(spec, descriptors, failure) < 0) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_CREDENTIALS;
    if (become_user({spec.uid, spec.gid, spec.gids}, failure) < 0 || die_with_parent(failure) < 0) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_NAMESPACE;
    // A mount namespace of a less privileged user namespace receives the host's later mounts and sends none
    // (mount_namespaces(7)), so there is nothing to make a slave.
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | others) < 0) return failure.set("unshare", "user namespace");
    if (raise_loopback(spec, failure) < 0) return -1;
    progress.step = berth_v1_BuildStep_BUILD_STEP_CREDENTIALS;
    return report_and_wait(berth_v1_BuildEvent_Kind_KIND_NAMESPACES, failure);
}

/// The image's mount: berthd's, or one of FUSE, of which berthd gets the device to have it served.
int obtain_image(const Spec& spec, Fd& image, Progress& progress) {
    Failure& failure = progress.failure;
    if (!spec.fuse) {
        progress.step = berth_v1_BuildStep_BUILD_STEP_IMAGE;
        std::vector<Fd> mounts;
        if (receive_mounts(kSocket, 1, mounts, failure) < 0) return -1;
        image = std::move(mounts[0]);
        return 0;
    }
    progress.step = berth_v1_BuildStep_BUILD_STEP_FUSE;
    Fd device;
    if (mount_fuse(device, image, failure) < 0) return -1;
    berth_v1_BuildEvent event = berth_v1_BuildEvent_init_zero;
    event.kind = berth_v1_BuildEvent_Kind_KIND_FUSE;
    event.descriptor = static_cast<uint32_t>(device.get());
    if (send_event(kSocket, event, failure) < 0) return -1;
    // Then ours is closed: when the server ends, nobody may be left who could answer.
    return await_answer(kSocket, failure);
}

int run() {
    Progress progress;
    progress.step = berth_v1_BuildStep_BUILD_STEP_SPEC;
    Fd caller;
    if (receive_caller(caller, progress.failure) < 0) return report_failure(progress);
    Spec spec;
    if (receive_spec(kSocket, spec, progress.failure) < 0) return report_failure(progress);
    umask(0);
    progress.step = berth_v1_BuildStep_BUILD_STEP_IMAGE;
    std::vector<Fd> descriptors;
    const size_t count = spec.descriptor_count();
    if (count > 0 && receive_mounts(kSocket, count, descriptors, progress.failure) < 0)
        return report_failure(progress);
    if (enter_namespaces(spec, std::move(caller), descriptors, progress) < 0) return report_failure(progress);
    Sources sources;
    if (open_sources(spec, descriptors, sources, progress) < 0) return report_failure(progress);
    descriptors.clear();
    Fd workspace;
    if (make_workspace(spec, workspace, progress) < 0) return report_failure(progress);
    Fd image;
    if (obtain_image(spec, image, progress) < 0) return report_failure(progress);
    if (build_root(spec, workspace.get(), image.get(), sources, progress) < 0)
        return report_failure(progress);
    sources = Sources();
    image.reset();
    if (report_and_wait(berth_v1_BuildEvent_Kind_KIND_BUILT, progress.failure) < 0) return 1;
    return 0;
}

}  // namespace
}  // namespace berth::builder

int main() {
    return berth::builder::run();
}

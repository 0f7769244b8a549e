#include "others.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "../sys/fd.h"

namespace berth::builder {

int other_namespaces(const Spec& spec) {
    return (spec.unshare.network ? CLONE_NEWNET : 0) | (spec.unshare.ipc ? CLONE_NEWIPC : 0) |
           (spec.unshare.hostname ? CLONE_NEWUTS : 0);
}

int raise_loopback(const Spec& spec, Failure& failure) {
    if (!spec.unshare.network) return 0;
    const Fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!any) return failure.set("socket", "AF_INET");
    ifreq request = {};
    strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(any.get(), SIOCSIFFLAGS, &request) < 0) return failure.set("ioctl SIOCSIFFLAGS", "lo");
    return 0;
}

}  // namespace berth::builder

#include "packages.h"

namespace berth::builder {
namespace {

/// What distributions give to others than root, and package managers write to.
constexpr const char* kForeign[] = {
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/var/cache/apt/archives/partial",
    "/var/lib/apt/lists/partial",
    "/var/lib/apt/lists/auxfiles",
    "/var/local",
    "/var/mail",
};

/// apt looks whether it has become the user it downloads as, and gives up where it has not.
constexpr char kAptDirectory[] = "/etc/apt/apt.conf.d";
constexpr char kAptFile[] = "/etc/apt/apt.conf.d/99-berth";
constexpr char kAptContent[] = "APT::Sandbox::User \"root\";\n";

}  // namespace

int help_package_managers(const Spec& spec, Skeleton& skeleton, Failure& failure) {
    if (!spec.pretend || !spec.writable.wanted) return 0;
    for (const char* path : kForeign) {
        if (skeleton.adopt(path, failure) < 0) return -1;
    }
    if (!skeleton.image_has_directory(kAptDirectory)) return 0;
    File settings;
    settings.path = kAptFile;
    settings.content = kAptContent;
    return skeleton.write_file(settings, failure);
}

}  // namespace berth::builder

#pragma once

#include "../sys/failure.h"
#include "skeleton.h"
#include "spec.h"

namespace berth::builder {

/// What package managers need where the user is root by a single id: files and directories of the image that
/// are not root's come to be, and those that would become another user are told not to. docs/adr/0016.
int help_package_managers(const Spec& spec, Skeleton& skeleton, Failure& failure);

}  // namespace berth::builder

#pragma once

#include "../sys/failure.h"
#include "../sys/fd.h"
#include "policy.h"
#include "root.h"
#include "spec.h"

namespace berth::builder {

/// Opens the user's directory that is to take a container's writes, if the policy lets them, as a detached
/// mount of its own.
int open_writable(const Spec& spec, const SourcePolicy& policy, Fd& tree, Progress& progress);

/// What an overlay needs to be written to, on one mount.
struct UpperLayer {
    Fd upper;
    Fd work;
};

/// Makes the layer that takes a container's writes, in `workspace`/writable: on `tree`, or on a new tmpfs.
int make_upper(const Spec& spec, int workspace, const Fd& tree, UpperLayer& layer, Failure& failure);

}  // namespace berth::builder

#pragma once

#include "../sys/failure.h"
#include "spec.h"

namespace berth::builder {

/// unshare(2)'s flags for the namespaces that the container has of its own besides user and mount namespace.
int other_namespaces(const Spec& spec);

/// Brings the loopback interface of a new network namespace up: a program that speaks to itself finds it.
int raise_loopback(const Spec& spec, Failure& failure);

}  // namespace berth::builder

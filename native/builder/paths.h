#pragma once

#include <string>

#include "../sys/failure.h"

namespace berth::builder {

/// Is an absolute path the directory, or below it? By component, not by its letters.
bool is_within(const std::string& path, const std::string& directory);

/// The path without "." and without slashes that say nothing; ".." is left.
std::string normalise(const std::string& path);

/// Has the path a component ".."?
bool has_dot_dot(const std::string& path);

std::string parent_of(const std::string& path);

/// The name that the kernel has for what is open: without symbolic links on the way. ENOENT for what was
/// removed, to whose name the kernel adds something (proc(5)).
int name_of(int fd, std::string& name, Failure& failure);

/// The name that the kernel has, relative to `root`, which it is in.
int name_in(int root, int fd, std::string& name, Failure& failure);

/// Is something mounted below the directory of that name, in this mount namespace? 1: yes; 0: no.
int has_mounts_below(const std::string& name, Failure& failure);

}  // namespace berth::builder

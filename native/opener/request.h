#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "../sys/failure.h"

namespace berth::opener {

/// Longest request, in bytes: a path of PATH_MAX and some thousand groups.
constexpr size_t kRequestLimit = size_t{128} * 1024;

/// Whose file is to be opened, and which.
struct Request {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> gids;
    std::string path;
};

/// Reads "UID GID\nGID GID ...\nPATH": decimal numbers of 32 bits, and an absolute path without NUL, which
/// may have any other character. EINVAL for anything else.
int parse_request(const std::string& packet, Request& request, Failure& failure);

}  // namespace berth::opener

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "../sys/failure.h"

namespace berth::opener {

/// Longest request, in bytes: a path of PATH_MAX, some thousand groups, and the site's directories.
constexpr size_t kRequestLimit = size_t{256} * 1024;

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

/// What the site lets users mount in their containers, as it was configured.
struct Sources {
    std::vector<std::string> allowed;
    std::vector<std::string> denied;
};

/// Reads a request with words behind it, each after a NUL: "+DIRECTORY" and "-DIRECTORY" are the site's. Of
/// the others come the first `count`, which have to be there; EINVAL for more.
int parse_order(const std::string& packet, size_t count, Request& request, std::vector<std::string>& words,
                Sources& sources, Failure& failure);

}  // namespace berth::opener

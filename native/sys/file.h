#pragma once

#include <sys/stat.h>

#include <string>

#include "failure.h"
#include "fd.h"

namespace berth {

/// The whole content of a file of at most `limit` bytes; EFBIG for more.
int read_file(const char* path, size_t limit, std::string& content, Failure& failure);

/// Opens a file, read-only and not through a symbolic link, and says what it is. O_NONBLOCK: a FIFO would be
/// waited for.
Fd open_file(const char* path, struct stat& status, Failure& failure);

}  // namespace berth

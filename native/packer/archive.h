#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "../sys/failure.h"

namespace berth::packer {

/// An extended attribute.
struct Attribute {
    std::string name;
    std::string value;
};

/// A part of a file that is no hole.
struct Extent {
    uint64_t offset;
    uint64_t size;
};

/// One entry of a tar archive.
struct Entry {
    /// Relative, without a slash at its end.
    std::string path;
    /// 0 regular file, 1 hard link, 2 symbolic link, 5 directory, 6 FIFO.
    char type = '0';
    mode_t mode = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    int64_t mtime = 0;
    uint64_t size = 0;
    std::string target;
    std::vector<Attribute> attributes;
};

/// Writes a tar archive, in the pax format of POSIX.1-2001, to a descriptor.
class Archive {
  public:
    explicit Archive(int output) : output_(output) {}

    /// A header. What it cannot hold comes before it, in one of pax.
    int add(const Entry& entry, Failure& failure);

    /// The header of a file of which only these parts are data, and where they are.
    int add_sparse(const Entry& entry, const std::vector<Extent>& extents, Failure& failure);

    /// Bytes of the last file.
    int write(const void* bytes, size_t count, Failure& failure);

    /// Fills the last file's block.
    int pad(uint64_t size, Failure& failure);

    /// What an archive ends with.
    int finish(Failure& failure);

  private:
    int add_header(const Entry& entry, std::string extended, uint64_t size, Failure& failure);

    int output_;
};

}  // namespace berth::packer

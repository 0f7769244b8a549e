#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "layer.h"

namespace berth::converter {

/// Bytes of a sparse file that are stored; the rest is holes.
struct Extent {
    uint64_t offset = 0;
    uint64_t size = 0;
};

/// What a pax header says that an image can hold, or that says how to read the archive.
struct PaxHeader {
    std::optional<std::string> path;
    std::optional<std::string> link;
    std::optional<int64_t> size;
    std::optional<int64_t> uid;
    std::optional<int64_t> gid;
    /// Whole seconds.
    std::optional<int64_t> mtime;
    std::vector<Xattr> xattrs;

    /// GNU's sparse files: the name and size that the file has when it is unpacked, and where its data
    /// belongs. In version 1.0 that is in front of the data.
    std::optional<std::string> sparse_name;
    std::optional<int64_t> sparse_size;
    int64_t sparse_major = 0;
    int64_t sparse_minor = 0;
    bool has_sparse_map = false;
    std::vector<Extent> sparse_map;
};

/// Reads the records of a pax header. Throws BadHeader.
PaxHeader parse_pax(std::string_view records);

}  // namespace berth::converter

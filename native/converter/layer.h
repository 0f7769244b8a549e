#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "entry.h"

namespace berth::converter {

/// Where squashfs keeps its superblock. A layer file leaves it free, so that it becomes an image by what is
/// appended.
constexpr uint64_t kDataStart = 96;

/// Set in a block's size on disk where the block is stored as it is.
constexpr uint32_t kUncompressed = 1U << 24U;

/// A file's bytes. Where `fragment` is kNone they are ceil(size / block size) blocks, one after the other
/// from `start`; their sizes on disk are from `first_block` on in Layer::blocks, 0 for a block that is a
/// hole. Otherwise they are `size` bytes at `offset` in an uncompressed fragment block.
struct Content {
    uint64_t start = 0;
    uint64_t size = 0;
    uint32_t first_block = 0;
    uint32_t fragment = kNone;
    uint32_t offset = 0;
    uint32_t reserved = 0;
};

/// A block that many small files share.
struct Fragment {
    uint64_t start = 0;
    /// On disk, with kUncompressed.
    uint32_t size = 0;
    uint32_t reserved = 0;
};

struct Xattr {
    std::string name;
    std::string value;
};

/// Everything about a layer but its data blocks, which are in a file.
struct Layer {
    uint32_t block_size = 0;
    /// End of the data blocks in the file.
    uint64_t data_end = kDataStart;
    std::vector<Content> contents;
    std::vector<uint32_t> blocks;
    std::vector<Fragment> fragments;
    /// Sets of extended attributes, each as encode() has it.
    std::vector<std::string> xattrs;
    /// As EntryWriter wrote them.
    std::string entries;
    uint64_t entry_count = 0;
    uint64_t device_count = 0;
    /// Bytes of files' data in the archive, holes not counted.
    uint64_t bytes = 0;

    uint64_t block_count(const Content& content) const {
        return content.fragment != kNone ? 0 : (content.size + block_size - 1) / block_size;
    }
};

/// A set of extended attributes as bytes, the same for the same set.
std::string encode(std::vector<Xattr> xattrs);

/// The inverse. Throws kLayer.
std::vector<Xattr> decode(std::string_view bytes);

}  // namespace berth::converter

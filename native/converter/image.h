#pragma once

#include <cstdint>
#include <vector>

#include "layer.h"
#include "output.h"
#include "tree.h"

namespace berth::converter {

/// A layer's part in an image: its tables, and where its data blocks are in the output.
struct Part {
    const Layer* layer = nullptr;
    /// Runs of the layer's data that were copied, by `from`.
    struct Run {
        uint64_t from = 0;
        uint64_t to = 0;
        uint64_t size = 0;
    };
    std::vector<Run> runs;
    /// Number in the image of each of its fragment blocks, kNone for those that nothing uses.
    std::vector<uint32_t> fragments;

    /// Where a place in the layer's data is in the output.
    uint64_t moved(uint64_t start) const;
};

/// What the parts of an image are, where the data of its only layer is in the output already.
std::vector<Part> parts_in_place(const Layer& layer, const Tree& tree);

/// Copies the data blocks that the tree's files use from the layer files to the output.
std::vector<Part> copy_parts(const std::vector<Layer>& layers, const std::vector<int>& files,
                             const Tree& tree, Output& output);

struct ImageCounts {
    /// Names, the root included.
    uint64_t entries = 0;
    uint64_t device_nodes = 0;
    /// Bytes of all files, each counted once however many names it has; holes included.
    uint64_t bytes = 0;
};

/// Writes the tables after the data blocks, and the superblock before them.
ImageCounts write_image(Output& output, const Tree& tree, const std::vector<Part>& parts, uint32_t block_size,
                        int level);

}  // namespace berth::converter

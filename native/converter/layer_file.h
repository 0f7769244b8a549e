#pragma once

#include "layer.h"
#include "output.h"

namespace berth::converter {

// A layer file, version 1. All numbers are little-endian.
//
//   0                96 bytes of zeros, where an image has its superblock
//   96               data and fragment blocks, compressed one by one, in the order of the archive
//   data end         the index: Content[], the blocks' sizes (32 bits each), Fragment[], then the sets of
//   extended
//                    attributes, each a 32-bit length and its bytes, then the entries
//   end - 128        the footer: struct Footer in layer_file.cc, with a SHA-256 of the index and the footer's
//   other fields
//
// Nothing in it points outside of it. It is a cache, made of a blob that can be had again: a reader that
// finds another version, or damage, has the layer converted anew.

/// Appends the index and the footer to the data blocks.
void write_layer(Output& output, const Layer& layer);

/// Reads the index. A layer file is not trusted: everything that is returned lies within the file and its own
/// tables. Throws kLayer.
Layer read_layer(int fd);

}  // namespace berth::converter

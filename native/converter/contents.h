#pragma once

#include <sqfs/block_processor.h>
#include <sqfs/block_writer.h>
#include <sqfs/compressor.h>

#include <deque>
#include <memory>
#include <vector>

#include "digest.h"
#include "layer.h"
#include "output.h"

namespace berth::converter {

struct SqfsDelete {
    void operator()(void* object) const { sqfs_destroy(object); }
};
template <typename Object>
using SqfsPointer = std::unique_ptr<Object, SqfsDelete>;

/// A zstd compressor of libsquashfs. Level 1 to 22.
SqfsPointer<sqfs_compressor_t> make_compressor(uint32_t block_size, int level);

/// Which contents a layer has, by what they are.
class ContentTable {
  public:
    ContentTable();
    /// The id under the sum; `id` is put there if there is none.
    uint32_t find_or_add(const Sum& sum, uint32_t id);

  private:
    /// Half a SHA-256, which is enough to tell files apart.
    struct Slot {
        uint64_t high = 0;
        uint64_t low = 0;
        uint32_t id = kNone;
    };
    Slot& slot(uint64_t high, uint64_t low);
    void grow();
    std::vector<Slot> slots_;
    size_t used_ = 0;
};

/// Cuts files into blocks, has them compressed by libsquashfs' threads, and writes them one after the other
/// in the order they came in, whatever the number of threads. Content that the layer has already is not
/// stored again. Files smaller than a block share fragment blocks; a larger file's last block is its own, so
/// that reading it reads nothing else.
class ContentWriter : sqfs_block_writer_t {
  public:
    ContentWriter(Output& output, Layer& layer, int level, unsigned jobs);
    ~ContentWriter();
    ContentWriter(const ContentWriter&) = delete;
    ContentWriter& operator=(const ContentWriter&) = delete;

    /// Starts a file of that many bytes, holes included. All of them must follow. A small one that is read
    /// first of all is put with its like, apart from the others: whoever reads it decompresses nothing else.
    void begin(uint64_t size, bool is_read_first = false);
    void append(const void* bytes, size_t count);
    void append_hole(uint64_t count);
    /// The content's index in the layer, or kNone where it is empty.
    uint32_t end();

    /// Writes what is in flight. Nothing can be added after it.
    void finish();

  private:
    enum class Step { kBlock, kFragment, kEnd, kDuplicate };
    /// What the next compressed block is, or what is to be done between two.
    struct Pending {
        Step step;
        uint32_t content;
        uint32_t index;
    };

    /// A fragment block that is being filled.
    struct Filling {
        std::vector<uint8_t> bytes;
        size_t filled = 0;
        /// Its place in the layer's fragments, reserved with the first file in it.
        uint32_t index = kNone;
    };

    void flush_block();
    void flush_fragment(Filling& fragment);
    void skip_block(uint64_t count);
    uint32_t end_small();
    void submit(const Pending& pending, const std::vector<uint8_t>& bytes, size_t count);
    int write(uint32_t size, uint32_t flags, const uint8_t* bytes);
    void settle();

    Output& output_;
    Layer& layer_;
    SqfsPointer<sqfs_compressor_t> compressor_;
    SqfsPointer<sqfs_block_processor_t> processor_;
    std::deque<Pending> pending_;
    ContentTable known_;
    Sha256 sum_;
    std::vector<uint8_t> block_;
    size_t filled_ = 0;
    uint64_t block_number_ = 0;
    uint64_t size_ = 0;
    uint32_t content_ = kNone;
    Filling usual_;
    Filling read_first_;
    bool is_read_first_ = false;
};

}  // namespace berth::converter

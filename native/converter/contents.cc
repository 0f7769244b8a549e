#include "contents.h"

#include <sqfs/block.h>
#include <sqfs/error.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "fault.h"

namespace berth::converter {
namespace {

// Of all files of a layer: 2 TiB at the usual block size, 64 MiB of memory. Only holes can come near it.
constexpr uint64_t kMostBlocks = uint64_t{1} << 24U;
constexpr size_t kFirstSlots = 1024;

bool is_zero(const uint8_t* bytes, size_t count) {
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

}  // namespace

SqfsPointer<sqfs_compressor_t> make_compressor(uint32_t block_size, int level) {
    sqfs_compressor_config_t configuration;
    sqfs_compressor_t* compressor = nullptr;
    int code = sqfs_compressor_config_init(&configuration, SQFS_COMP_ZSTD, block_size, 0);
    configuration.level = static_cast<sqfs_u32>(level);
    if (code == 0) code = sqfs_compressor_create(&configuration, &compressor);
    if (code == SQFS_ERROR_ALLOC) throw std::bad_alloc();
    if (code != 0) fail(Kind::kInternal, "libsquashfs offers no zstd");
    return SqfsPointer<sqfs_compressor_t>(compressor);
}

ContentTable::ContentTable() : slots_(kFirstSlots) {}

ContentTable::Slot& ContentTable::slot(uint64_t high, uint64_t low) {
    size_t at = low & (slots_.size() - 1);
    while (slots_[at].id != kNone && (slots_[at].high != high || slots_[at].low != low))
        at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
}

uint32_t ContentTable::find_or_add(const Sum& sum, uint32_t id) {
    uint64_t high = 0;
    uint64_t low = 0;
    memcpy(&high, sum.data(), sizeof high);
    memcpy(&low, sum.data() + sizeof high, sizeof low);
    Slot& found = slot(high, low);
    if (found.id != kNone) return found.id;
    found = {high, low, id};
    if (++used_ * 4 > slots_.size() * 3) grow();
    return id;
}

void ContentTable::grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& item : old) {
        if (item.id != kNone) slot(item.high, item.low) = item;
    }
}

ContentWriter::ContentWriter(Output& output, Layer& layer, int level, unsigned jobs)
    : sqfs_block_writer_t{},
      output_(output),
      layer_(layer),
      compressor_(make_compressor(layer.block_size, level)),
      block_(layer.block_size) {
    base.destroy = [](sqfs_object_t*) {};
    write_data_block = [](sqfs_block_writer_t* writer, void*, sqfs_u32 size, sqfs_u32, sqfs_u32 flags,
                          const sqfs_u8* data, sqfs_u64* location) {
        *location = 0;
        return static_cast<ContentWriter*>(writer)->write(size, flags, data);
    };
    get_block_count = [](const sqfs_block_writer_t*) -> sqfs_u64 { return 0; };

    sqfs_block_processor_desc_t description{};
    description.size = sizeof description;
    description.max_block_size = layer.block_size;
    description.num_workers = jobs;
    // Blocks in memory: enough to keep the threads busy while one block takes long.
    description.max_backlog = jobs * 4 + 4;
    description.cmp = compressor_.get();
    description.wr = this;
    sqfs_block_processor_t* processor = nullptr;
    output_.check(sqfs_block_processor_create_ex(&description, &processor), "starting compression");
    processor_.reset(processor);
}

// The processor may still call write() until it is gone.
ContentWriter::~ContentWriter() {
    processor_.reset();
}

void ContentWriter::begin(uint64_t size, bool is_read_first) {
    size_ = size;
    is_read_first_ = is_read_first;
    filled_ = 0;
    block_number_ = 0;
    content_ = kNone;
    if (size < layer_.block_size) return;
    const uint64_t blocks = (size + layer_.block_size - 1) / layer_.block_size;
    if (blocks > kMostBlocks - layer_.blocks.size())
        fail(Kind::kLimit,
             "the archive's files are too large, with their holes: " + std::to_string(size) + " bytes");
    content_ = static_cast<uint32_t>(layer_.contents.size());
    layer_.contents.push_back({0, size, static_cast<uint32_t>(layer_.blocks.size()), kNone, 0, 0});
}

void ContentWriter::append(const void* bytes, size_t count) {
    const auto* from = static_cast<const uint8_t*>(bytes);
    while (count > 0) {
        const size_t part = std::min(count, block_.size() - filled_);
        memcpy(block_.data() + filled_, from, part);
        filled_ += part;
        from += part;
        count -= part;
        if (filled_ == block_.size()) flush_block();
    }
}

void ContentWriter::append_hole(uint64_t count) {
    while (count > 0) {
        if (filled_ == 0 && count >= block_.size()) {
            skip_block(count / block_.size());
            count %= block_.size();
            continue;
        }
        const size_t part = std::min<uint64_t>(count, block_.size() - filled_);
        memset(block_.data() + filled_, 0, part);
        filled_ += part;
        count -= part;
        if (filled_ == block_.size()) flush_block();
    }
}

void ContentWriter::skip_block(uint64_t count) {
    layer_.blocks.insert(layer_.blocks.end(), count, 0);
    block_number_ += count;
}

void ContentWriter::flush_block() {
    if (is_zero(block_.data(), filled_)) {
        skip_block(1);
    } else {
        // Holes have no part in the sum but by the numbers of the blocks after them.
        sum_.update(&block_number_, sizeof block_number_);
        sum_.update(block_.data(), filled_);
        const auto index = static_cast<uint32_t>(layer_.blocks.size());
        layer_.blocks.push_back(0);
        ++block_number_;
        submit({Step::kBlock, content_, index}, block_, filled_);
    }
    filled_ = 0;
}

uint32_t ContentWriter::end() {
    if (size_ == 0) return kNone;
    if (content_ == kNone) return end_small();
    if (filled_ > 0) flush_block();
    sum_.update(&size_, sizeof size_);
    const uint32_t known = known_.find_or_add(sum_.finish(), content_);
    pending_.push_back({known == content_ ? Step::kEnd : Step::kDuplicate, content_, 0});
    return known;
}

uint32_t ContentWriter::end_small() {
    const auto id = static_cast<uint32_t>(layer_.contents.size());
    sum_.update(&block_number_, sizeof block_number_);
    sum_.update(block_.data(), filled_);
    sum_.update(&size_, sizeof size_);
    const uint32_t known = known_.find_or_add(sum_.finish(), id);
    if (known != id) return known;
    Content content{0, size_, static_cast<uint32_t>(layer_.blocks.size()), kNone, 0, 0};
    if (is_zero(block_.data(), filled_)) {
        skip_block(1);
    } else {
        Filling& fragment = is_read_first_ ? read_first_ : usual_;
        if (fragment.filled + filled_ > block_.size()) flush_fragment(fragment);
        if (fragment.index == kNone) {
            fragment.bytes.resize(block_.size());
            fragment.index = static_cast<uint32_t>(layer_.fragments.size());
            layer_.fragments.push_back({});
        }
        content.first_block = 0;
        content.fragment = fragment.index;
        content.offset = static_cast<uint32_t>(fragment.filled);
        memcpy(fragment.bytes.data() + fragment.filled, block_.data(), filled_);
        fragment.filled += filled_;
    }
    layer_.contents.push_back(content);
    return id;
}

void ContentWriter::flush_fragment(Filling& fragment) {
    submit({Step::kFragment, kNone, fragment.index}, fragment.bytes, fragment.filled);
    fragment.filled = 0;
    fragment.index = kNone;
}

void ContentWriter::submit(const Pending& pending, const std::vector<uint8_t>& bytes, size_t count) {
    pending_.push_back(pending);
    // Sums and holes are known here already.
    constexpr sqfs_u32 kFlags = SQFS_BLK_DONT_HASH | SQFS_BLK_IGNORE_SPARSE | SQFS_BLK_DONT_DEDUPLICATE;
    output_.check(sqfs_block_processor_submit_block(processor_.get(), nullptr, kFlags, bytes.data(), count),
                  "writing");
}

/// What is to be done between two blocks.
void ContentWriter::settle() {
    while (!pending_.empty()) {
        const Pending next = pending_.front();
        if (next.step != Step::kEnd && next.step != Step::kDuplicate) return;
        pending_.pop_front();
        if (next.step == Step::kEnd) continue;
        // Its blocks are the last ones that were written.
        Content& content = layer_.contents[next.content];
        if (content.start != 0) output_.rewind(content.start);
        content = {};
    }
}

int ContentWriter::write(uint32_t size, uint32_t flags, const uint8_t* bytes) {
    settle();
    if (pending_.empty()) return SQFS_ERROR_SEQUENCE;
    const Pending next = pending_.front();
    pending_.pop_front();
    const uint64_t start = output_.size();
    const uint32_t stored = size | ((flags & SQFS_BLK_IS_COMPRESSED) != 0 ? 0 : kUncompressed);
    if (next.step == Step::kFragment) {
        layer_.fragments[next.index] = {start, stored, 0};
    } else {
        Content& content = layer_.contents[next.content];
        if (content.start == 0) content.start = start;
        layer_.blocks[next.index] = stored;
    }
    return output_.write_at(&output_, start, bytes, size);
}

void ContentWriter::finish() {
    for (Filling* fragment : {&usual_, &read_first_}) {
        if (fragment->index != kNone) flush_fragment(*fragment);
    }
    output_.check(sqfs_block_processor_finish(processor_.get()), "writing");
    settle();
    layer_.data_end = output_.size();
}

}  // namespace berth::converter

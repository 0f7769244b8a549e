#include "layer_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "digest.h"
#include "fault.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "layer files are written as they are in memory");

namespace berth::converter {
namespace {

constexpr char kMagic[16] = "berth layer\n\x1a\r\n";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kZstd = 6;

struct Footer {
    char magic[16];
    uint32_t version;
    uint32_t compressor;
    uint32_t block_size;
    uint32_t content_count;
    uint32_t block_count;
    uint32_t fragment_count;
    uint32_t xattr_count;
    uint32_t reserved;
    uint64_t data_end;
    uint64_t xattr_bytes;
    uint64_t entry_count;
    uint64_t device_count;
    uint64_t bytes;
    uint64_t entry_bytes;
    Sum sum;
};
static_assert(sizeof(Footer) == 128 && sizeof(Content) == 32 && sizeof(Fragment) == 16);
static_assert(std::has_unique_object_representations_v<Content> &&
              std::has_unique_object_representations_v<Fragment> &&
              std::has_unique_object_representations_v<Footer>);

/// Writes and hashes.
class IndexWriter {
  public:
    explicit IndexWriter(Output& output) : output_(output) {}
    void add(const void* bytes, size_t count) {
        sum_.update(bytes, count);
        output_.append(bytes, count);
    }
    template <typename Item>
    void add_all(const std::vector<Item>& items) {
        add(items.data(), items.size() * sizeof(Item));
    }
    Sum finish(const Footer& footer) {
        sum_.update(&footer, offsetof(Footer, sum));
        return sum_.finish();
    }

  private:
    Output& output_;
    Sha256 sum_;
};

/// Reads within the index, and hashes.
class IndexReader {
  public:
    IndexReader(int fd, uint64_t start, uint64_t end) : fd_(fd), at_(start), end_(end) {}

    void read(void* target, uint64_t count) {
        if (count > end_ - at_) fail(Kind::kLayer, "the layer file is cut short");
        auto* bytes = static_cast<char*>(target);
        for (uint64_t done = 0; done < count;) {
            const ssize_t got = pread(fd_, bytes + done, count - done, static_cast<off_t>(at_ + done));
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) {
                const int error = got < 0 ? errno : EIO;
                fail(Kind::kLayer, std::string("reading the layer file: ") + strerror(error), error);
            }
            done += static_cast<uint64_t>(got);
        }
        at_ += count;
        sum_.update(target, count);
    }

    template <typename Item>
    void read_all(std::vector<Item>& items, uint64_t count) {
        if (count > (end_ - at_) / sizeof(Item)) fail(Kind::kLayer, "the layer file is cut short");
        items.resize(count);
        read(items.data(), count * sizeof(Item));
    }

    void read_text(std::string& text, uint64_t count) {
        if (count > end_ - at_) fail(Kind::kLayer, "the layer file is cut short");
        text.resize(count);
        read(text.data(), count);
    }

    bool at_end() const { return at_ == end_; }
    Sum finish(const Footer& footer) {
        sum_.update(&footer, offsetof(Footer, sum));
        return sum_.finish();
    }

  private:
    int fd_;
    uint64_t at_;
    uint64_t end_;
    Sha256 sum_;
};

/// The bytes that a block takes in the file; throws if there cannot be such a block.
uint32_t size_on_disk(uint32_t size, const Layer& layer) {
    const uint32_t bytes = size & ~kUncompressed;
    if (bytes > layer.block_size) fail(Kind::kLayer, "the layer file has a block that is too large");
    return bytes;
}

void check_extent(uint64_t start, uint64_t bytes, const Layer& layer) {
    if (start < kDataStart || start > layer.data_end || bytes > layer.data_end - start)
        fail(Kind::kLayer, "the layer file has a block outside of its data");
}

void check_content(const Content& content, const Layer& layer) {
    if (content.fragment != kNone) {
        const bool fits =
            content.size < layer.block_size && content.offset <= layer.block_size - content.size;
        if (content.fragment >= layer.fragments.size() || !fits || content.size == 0)
            fail(Kind::kLayer, "the layer file has a file outside of its fragment");
        return;
    }
    // Also keeps the sum from overflowing.
    if (content.size > uint64_t{INT64_MAX}) fail(Kind::kLayer, "the layer file has a file that is too large");
    const uint64_t count = layer.block_count(content);
    if (content.first_block > layer.blocks.size() || count > layer.blocks.size() - content.first_block)
        fail(Kind::kLayer, "the layer file has a file outside of its list of blocks");
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < count; ++i) bytes += size_on_disk(layer.blocks[content.first_block + i], layer);
    if (bytes > 0) check_extent(content.start, bytes, layer);
}

void check_tables(const Layer& layer) {
    for (const Fragment& fragment : layer.fragments) {
        const uint32_t bytes = size_on_disk(fragment.size, layer);
        if (bytes == 0) fail(Kind::kLayer, "the layer file has an empty fragment");
        check_extent(fragment.start, bytes, layer);
    }
    // Every block belongs to one file, so that a list of many files is checked in one pass over the blocks.
    uint64_t claimed = 0;
    for (const Content& content : layer.contents) {
        claimed += layer.block_count(content);
        if (claimed > layer.blocks.size()) fail(Kind::kLayer, "the layer file has files that share blocks");
        check_content(content, layer);
    }
}

Footer read_footer(int fd, uint64_t size) {
    Footer footer;
    if (size < kDataStart + sizeof footer) fail(Kind::kLayer, "this is no layer file: it is too short");
    const uint64_t start = size - sizeof footer;
    IndexReader(fd, start, size).read(&footer, sizeof footer);
    if (memcmp(footer.magic, kMagic, sizeof kMagic) != 0)
        fail(Kind::kLayer, "this is no layer file, or not a whole one");
    if (footer.version != kVersion)
        fail(Kind::kLayer, "the layer file is of version " + std::to_string(footer.version));
    const bool is_power = (footer.block_size & (footer.block_size - 1)) == 0;
    if (footer.compressor != kZstd || footer.block_size < 4096 || footer.block_size > (1U << 20U) ||
        !is_power || footer.data_end < kDataStart || footer.data_end > start)
        fail(Kind::kLayer, "the layer file's footer is damaged");
    return footer;
}

}  // namespace

std::string encode(std::vector<Xattr> xattrs) {
    std::stable_sort(xattrs.begin(), xattrs.end(),
                     [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
    std::string bytes;
    for (size_t i = 0; i < xattrs.size(); ++i) {
        // Of one name the last counts.
        if (i + 1 < xattrs.size() && xattrs[i + 1].name == xattrs[i].name) continue;
        bytes.append(xattrs[i].name.c_str(), xattrs[i].name.size() + 1);
        const auto size = static_cast<uint32_t>(xattrs[i].value.size());
        bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
        bytes += xattrs[i].value;
    }
    return bytes;
}

std::vector<Xattr> decode(std::string_view bytes) {
    std::vector<Xattr> xattrs;
    while (!bytes.empty()) {
        const size_t end = bytes.find('\0');
        uint32_t size = 0;
        if (end == std::string_view::npos || bytes.size() - end - 1 < sizeof size)
            fail(Kind::kLayer, "the layer file has damaged extended attributes");
        memcpy(&size, bytes.data() + end + 1, sizeof size);
        const std::string_view rest = bytes.substr(end + 1 + sizeof size);
        if (size > rest.size()) fail(Kind::kLayer, "the layer file has damaged extended attributes");
        xattrs.push_back({std::string(bytes.substr(0, end)), std::string(rest.substr(0, size))});
        bytes = rest.substr(size);
    }
    return xattrs;
}

void write_layer(Output& output, const Layer& layer) {
    Footer footer{};
    memcpy(footer.magic, kMagic, sizeof kMagic);
    footer.version = kVersion;
    footer.compressor = kZstd;
    footer.block_size = layer.block_size;
    footer.content_count = static_cast<uint32_t>(layer.contents.size());
    footer.block_count = static_cast<uint32_t>(layer.blocks.size());
    footer.fragment_count = static_cast<uint32_t>(layer.fragments.size());
    footer.xattr_count = static_cast<uint32_t>(layer.xattrs.size());
    footer.data_end = layer.data_end;
    footer.entry_count = layer.entry_count;
    footer.device_count = layer.device_count;
    footer.bytes = layer.bytes;
    footer.entry_bytes = layer.entries.size();

    IndexWriter index(output);
    index.add_all(layer.contents);
    index.add_all(layer.blocks);
    index.add_all(layer.fragments);
    for (const std::string& set : layer.xattrs) {
        const auto size = static_cast<uint32_t>(set.size());
        index.add(&size, sizeof size);
        index.add(set.data(), set.size());
        footer.xattr_bytes += sizeof size + set.size();
    }
    index.add(layer.entries.data(), layer.entries.size());
    footer.sum = index.finish(footer);
    output.append(&footer, sizeof footer);
}

Layer read_layer(int fd) {
    struct stat status {};
    if (fstat(fd, &status) < 0)
        fail(Kind::kLayer, std::string("fstat of a layer file: ") + strerror(errno), errno);
    const auto size = static_cast<uint64_t>(status.st_size);
    const Footer footer = read_footer(fd, size);
    Layer layer;
    layer.block_size = footer.block_size;
    layer.data_end = footer.data_end;
    layer.entry_count = footer.entry_count;
    layer.device_count = footer.device_count;
    layer.bytes = footer.bytes;

    IndexReader index(fd, footer.data_end, size - sizeof footer);
    index.read_all(layer.contents, footer.content_count);
    index.read_all(layer.blocks, footer.block_count);
    index.read_all(layer.fragments, footer.fragment_count);
    for (uint32_t i = 0; i < footer.xattr_count; ++i) {
        uint32_t bytes = 0;
        index.read(&bytes, sizeof bytes);
        index.read_text(layer.xattrs.emplace_back(), bytes);
    }
    index.read_text(layer.entries, footer.entry_bytes);
    if (!index.at_end() || index.finish(footer) != footer.sum)
        fail(Kind::kLayer, "the layer file's index is damaged: its checksum is wrong");
    check_tables(layer);
    return layer;
}

}  // namespace berth::converter

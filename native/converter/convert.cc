#include "convert.h"

#include <unordered_map>

#include "archive.h"
#include "contents.h"

namespace berth::converter {
namespace {

// Of all distinct sets in a layer. Real images have a few hundred bytes.
constexpr uint64_t kMostXattrBytes = uint64_t{64} << 20U;

class Conversion {
  public:
    Conversion(Blob& blob, Output& output, const Options& options)
        : options_(options),
          archive_(blob),
          contents_(output, layer_start(layer_, options), options.level, options.jobs) {}

    Layer run() {
        EntryWriter entries(layer_.entries);
        TarEntry next;
        while (archive_.next(next)) {
            if (++layer_.entry_count > options_.most_entries)
                fail(Kind::kLimit,
                     "the archive has more than " + std::to_string(options_.most_entries) + " entries");
            if (next.entry.type == Type::kDevice) ++layer_.device_count;
            next.entry.xattrs = next.xattrs.empty() ? kNone : xattr_set(next);
            if (next.entry.type == Type::kFile) next.entry.content = content(next);
            entries.add(next.entry);
        }
        contents_.finish();
        return std::move(layer_);
    }

  private:
    static Layer& layer_start(Layer& layer, const Options& options) {
        layer.block_size = options.block_size;
        return layer;
    }

    uint32_t xattr_set(const TarEntry& entry) {
        std::string set = encode(entry.xattrs);
        const auto known = xattrs_.find(set);
        if (known != xattrs_.end()) return known->second;
        xattr_bytes_ += set.size();
        if (xattr_bytes_ > kMostXattrBytes)
            fail(Kind::kLimit,
                 "entry " + quoted(entry.name) + " of the archive: too many extended attributes");
        const auto index = static_cast<uint32_t>(layer_.xattrs.size());
        layer_.xattrs.push_back(set);
        xattrs_.emplace(std::move(set), index);
        return index;
    }

    uint32_t content(const TarEntry& entry) {
        // Making any container of the image begins with these.
        const bool is_read_first = entry.entry.path == "etc/passwd" || entry.entry.path == "etc/group";
        contents_.begin(entry.size, is_read_first);
        uint64_t at = 0;
        while (const auto data = archive_.next_data(entry)) {
            if (data->offset < at)
                fail(Kind::kArchive, "entry " + quoted(entry.name) + " of the archive: its parts overlap");
            layer_.bytes += data->size;
            if (layer_.bytes > options_.most_bytes)
                fail(Kind::kLimit,
                     "the archive unpacks to more than " + std::to_string(options_.most_bytes) + " bytes");
            contents_.append_hole(data->offset - at);
            contents_.append(data->bytes, data->size);
            at = data->offset + data->size;
        }
        contents_.append_hole(entry.size - at);
        return contents_.end();
    }

    const Options& options_;
    Layer layer_;
    TarReader archive_;
    ContentWriter contents_;
    std::unordered_map<std::string, uint32_t> xattrs_;
    uint64_t xattr_bytes_ = 0;
};

}  // namespace

Layer convert(Blob& blob, Output& output, const Options& options) {
    output.rewind(kDataStart);
    return Conversion(blob, output, options).run();
}

}  // namespace berth::converter

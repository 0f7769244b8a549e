#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blob.h"
#include "entry.h"
#include "layer.h"
#include "pax.h"
#include "tar_header.h"

namespace berth::converter {

/// What one entry of a tar archive says.
struct TarEntry {
    Entry entry;
    /// Those that an image keeps.
    std::vector<Xattr> xattrs;
    /// Apparent size of a regular file in bytes, holes included.
    uint64_t size = 0;
    /// As the archive has the name, for messages.
    std::string name;
};

/// Entries of a tar archive: ustar, pax and GNU, with their sparse files, read as Go's archive/tar does,
/// which the tools of containers are written with. Names are bytes throughout. Throws kArchive for what is no
/// whole archive or cannot be stored.
///
/// Not libarchive, which reads more: its names go through the locale's character set, and what is not in that
/// is lost.
class TarReader {
  public:
    explicit TarReader(Blob& blob) : blob_(blob) {}

    /// False at the end of the archive.
    bool next(TarEntry& entry);

    struct Data {
        const void* bytes = nullptr;
        size_t size = 0;
        /// Where in the file it belongs; what lies before it and after the last data is a hole.
        uint64_t offset = 0;
    };
    /// The next data of the entry's file, valid until the next call; none at its end.
    std::optional<Data> next_data(const TarEntry& entry);

  private:
    std::string_view some(uint64_t most);
    void read(char* target, size_t count);
    std::string read_text(uint64_t count);
    bool read_block(bool may_end);
    void skip_rest();
    bool read_headers(TarEntry& entry);
    void read_extents(const TarHeader& header, const PaxHeader& pax, TarEntry& entry);
    void read_gnu_map(TarEntry& entry);
    void read_map_before_data();
    void check_extents(const TarEntry& entry) const;

    Blob& blob_;
    std::string_view piece_;
    char block_[kTarBlock] = {};
    /// There was an entry.
    bool started_ = false;
    /// Of the current entry: bytes of data left, and of padding after them.
    uint64_t left_ = 0;
    uint64_t padding_ = 0;
    std::vector<Extent> extents_;
    size_t extent_ = 0;
    uint64_t in_extent_ = 0;
};

}  // namespace berth::converter

#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "blob.h"
#include "entry.h"
#include "layer.h"

struct archive;
struct archive_entry;

namespace berth::converter {

/// What one entry of a tar archive says, before it is known whether it can be stored.
struct TarEntry {
    Entry entry;
    std::vector<Xattr> xattrs;
    /// Apparent size of a regular file in bytes, holes included.
    uint64_t size = 0;
    /// As the archive has the name, for messages.
    std::string name;
};

/// Entries of a tar archive (ustar, pax, GNU, with their sparse files), as bytes: no name is ever converted.
/// Throws kArchive for what is no whole archive or cannot be stored.
class TarReader {
  public:
    explicit TarReader(Blob& blob);
    ~TarReader();

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
    void check(int code, const TarEntry* entry);
    [[noreturn]] void fail_entry(const TarEntry& entry, std::string_view why) const;
    void read_path(archive_entry* from, TarEntry& to) const;
    void read_type(archive_entry* from, TarEntry& to) const;
    void read_metadata(archive_entry* from, TarEntry& to) const;
    void read_xattrs(archive_entry* from, TarEntry& to) const;

    Blob& blob_;
    std::optional<Fault> fault_;
    std::unique_ptr<archive, int (*)(archive*)> archive_;
};

}  // namespace berth::converter

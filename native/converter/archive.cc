#include "archive.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "metadata.h"

namespace berth::converter {
namespace {

// As many as Go's archive/tar takes; GNU and pax headers are names and attributes.
constexpr int64_t kMostExtension = 1 << 20;
// Of a sparse file; 64 MiB of memory.
constexpr size_t kMostExtents = size_t{1} << 22U;

[[noreturn]] void fail_truncated() {
    fail(Kind::kArchive, "the archive is cut short");
}

void add_extent(std::vector<Extent>& extents, uint64_t offset, uint64_t size) {
    if (extents.size() >= kMostExtents) throw BadHeader{"it is a sparse file of too many parts"};
    extents.push_back({offset, size});
}

uint64_t field_number(const char* block, size_t at) {
    const int64_t number = parse_number({block + at, 12});
    if (number < 0) throw BadHeader{"its list of parts is damaged"};
    return static_cast<uint64_t>(number);
}

}  // namespace

/// At most that many of the next bytes, at least one; none at the end of the archive.
std::string_view TarReader::some(uint64_t most) {
    if (piece_.empty()) {
        const void* bytes = nullptr;
        const size_t size = blob_.next(bytes);
        piece_ = {static_cast<const char*>(bytes), size};
    }
    const std::string_view taken =
        piece_.substr(0, static_cast<size_t>(std::min<uint64_t>(most, piece_.size())));
    piece_.remove_prefix(taken.size());
    return taken;
}

void TarReader::read(char* target, size_t count) {
    while (count > 0) {
        const std::string_view bytes = some(count);
        if (bytes.empty()) fail_truncated();
        memcpy(target, bytes.data(), bytes.size());
        target += bytes.size();
        count -= bytes.size();
    }
}

/// A header's content, without its padding.
std::string TarReader::read_text(uint64_t count) {
    std::string text(count, '\0');
    read(text.data(), text.size());
    char padding[kTarBlock];
    read(padding, (kTarBlock - count % kTarBlock) % kTarBlock);
    return text;
}

/// The next block into block_. False where the archive ends before it, if it may.
bool TarReader::read_block(bool may_end) {
    const std::string_view start = some(kTarBlock);
    if (start.empty()) {
        if (may_end) return false;
        fail_truncated();
    }
    memcpy(block_, start.data(), start.size());
    read(block_ + start.size(), kTarBlock - start.size());
    return true;
}

void TarReader::skip_rest() {
    for (uint64_t count = left_ + padding_; count > 0;) {
        const std::string_view skipped = some(count);
        if (skipped.empty()) fail_truncated();
        count -= skipped.size();
    }
    left_ = padding_ = 0;
}

bool TarReader::next(TarEntry& entry) {
    skip_rest();
    const std::string previous = std::exchange(entry.name, {});
    try {
        return read_headers(entry);
    } catch (const BadHeader& bad) {
        if (entry.name.empty() && started_)
            fail(Kind::kArchive, "the archive is damaged after entry " + quoted(previous) + ": " + bad.why);
        if (entry.name.empty()) fail(Kind::kArchive, "this is no tar archive, or a damaged one: " + bad.why);
        fail(Kind::kArchive, "entry " + quoted(entry.name) + " of the archive: " + bad.why);
    }
}

/// An entry's header and the ones before it that belong to it.
bool TarReader::read_headers(TarEntry& entry) {
    PaxHeader pax;
    std::optional<std::string> long_name;
    std::optional<std::string> long_link;
    for (bool first = true;; first = false) {
        if (!read_block(first)) {
            // An empty archive has blocks of zeros.
            if (!started_) fail(Kind::kArchive, "the archive is empty: it has no bytes");
            return false;
        }
        if (is_end({block_, kTarBlock})) {
            if (!first) throw BadHeader{"it ends after a header that another should follow"};
            if (read_block(true) && !is_end({block_, kTarBlock}))
                throw BadHeader{"it goes on after a block of zeros, which should be its end"};
            return false;
        }
        TarHeader header = parse_header({block_, kTarBlock});
        const bool extends = strchr("xgXLK", header.type) != nullptr && header.type != '\0';
        if (extends && (header.size < 0 || header.size > kMostExtension))
            throw BadHeader{"a header is larger than 1 MiB"};
        const auto size = static_cast<uint64_t>(header.size);
        switch (extends ? header.type : '\0') {
            case 'x':
            // As the tar of Solaris wrote them.
            case 'X':
                pax = parse_pax(read_text(size));
                continue;
            // Global headers are comments, of `git archive` for one.
            case 'g':
                read_text(size);
                continue;
            case 'L':
                long_name = read_text(size).c_str();
                continue;
            case 'K':
                long_link = read_text(size).c_str();
                continue;
            default:
                break;
        }
        header.name = long_name.value_or(pax.sparse_name.value_or(pax.path.value_or(header.name)));
        header.link = long_link.value_or(pax.link.value_or(header.link));
        header.size = pax.size.value_or(header.size);
        header.uid = pax.uid.value_or(header.uid);
        header.gid = pax.gid.value_or(header.gid);
        header.mtime = pax.mtime.value_or(header.mtime);
        entry.name = header.name;
        started_ = true;
        interpret(header, pax, entry);
        read_extents(header, pax, entry);
        return true;
    }
}

/// Where the entry's data is, and where it belongs.
void TarReader::read_extents(const TarHeader& header, const PaxHeader& pax, TarEntry& entry) {
    extents_.clear();
    extent_ = 0;
    in_extent_ = 0;
    entry.size = 0;
    // Links, devices, directories and FIFOs have no data, whatever their size says.
    if (strchr("123456", header.type) != nullptr && header.type != '\0') return;
    if (header.size < 0) throw BadHeader{"its size is negative"};
    left_ = static_cast<uint64_t>(header.size);
    padding_ = (kTarBlock - left_ % kTarBlock) % kTarBlock;
    if (entry.entry.type != Type::kFile) return;
    entry.size = left_;
    if (header.type == 'S') {
        read_gnu_map(entry);
    } else if (pax.sparse_major == 1 && pax.sparse_minor == 0) {
        entry.size = static_cast<uint64_t>(pax.sparse_size.value_or(header.size));
        read_map_before_data();
    } else if (pax.has_sparse_map) {
        entry.size = static_cast<uint64_t>(pax.sparse_size.value_or(header.size));
        extents_ = pax.sparse_map;
    } else if (left_ > 0) {
        extents_ = {{0, left_}};
    }
    check_extents(entry);
}

/// GNU tar's own form: four parts in the header, 21 in each block after it.
void TarReader::read_gnu_map(TarEntry& entry) {
    constexpr size_t kEntrySize = 24;
    entry.size = field_number(block_, 483);
    size_t at = 386;
    size_t count = 4;
    for (;;) {
        const bool more = block_[at + count * kEntrySize] != 0;
        for (; count > 0; --count, at += kEntrySize) {
            // The list ends at the first one that is empty.
            if (block_[at] == 0) break;
            add_extent(extents_, field_number(block_, at), field_number(block_, at + 12));
        }
        if (!more) return;
        read_block(false);
        at = 0;
        count = 21;
    }
}

/// Version 1.0 of pax: decimal numbers, each on a line, in blocks before the data and counted as data.
void TarReader::read_map_before_data() {
    uint64_t taken = 0;
    size_t at = kTarBlock;
    const auto number = [&]() -> uint64_t {
        std::string digits;
        for (;;) {
            if (at == kTarBlock) {
                if (left_ - taken < kTarBlock) throw BadHeader{"its list of parts is damaged"};
                read_block(false);
                taken += kTarBlock;
                at = 0;
            }
            const char c = block_[at++];
            if (c == '\n') return static_cast<uint64_t>(parse_decimal(digits));
            if (digits.size() > 20) throw BadHeader{"its list of parts is damaged"};
            digits += c;
        }
    };
    for (uint64_t count = number(); count > 0; --count) {
        const uint64_t offset = number();
        add_extent(extents_, offset, number());
    }
    left_ -= taken;
}

void TarReader::check_extents(const TarEntry& entry) const {
    uint64_t end = 0;
    uint64_t bytes = 0;
    for (const Extent& extent : extents_) {
        if (extent.offset < end || extent.offset > entry.size || extent.size > entry.size - extent.offset)
            throw BadHeader{"its parts overlap, or lie beyond its end"};
        end = extent.offset + extent.size;
        bytes += extent.size;
    }
    if (bytes != left_) throw BadHeader{"its parts do not have the size of its data"};
}

std::optional<TarReader::Data> TarReader::next_data(const TarEntry& entry) {
    while (extent_ < extents_.size() && in_extent_ == extents_[extent_].size) {
        ++extent_;
        in_extent_ = 0;
    }
    if (extent_ == extents_.size()) return {};
    const Extent& extent = extents_[extent_];
    const std::string_view bytes = some(extent.size - in_extent_);
    if (bytes.empty())
        fail(Kind::kArchive,
             "entry " + quoted(entry.name) + " of the archive: the archive is cut short in its data");
    const Data data{bytes.data(), bytes.size(), extent.offset + in_extent_};
    in_extent_ += bytes.size();
    left_ -= bytes.size();
    return data;
}

}  // namespace berth::converter

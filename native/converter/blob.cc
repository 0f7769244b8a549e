#include "blob.h"

#include <archive.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

namespace berth::converter {
namespace {

constexpr size_t kPieces = 16;
constexpr size_t kPieceSize = size_t{256} << 10U;
constexpr size_t kInputSize = size_t{256} << 10U;

/// Headers and padding that an archive may have beside its files' data, for each entry: a bound on what a
/// bomb can make this process read, not on what an archive needs.
constexpr uint64_t kMostOverhead = 16 << 10U;

}  // namespace

Blob::Blob(int fd, const Options& options)
    : fd_(fd), options_(options), ring_(kPieces, kPieceSize), input_(kInputSize), thread_([this] {
          run();
      }) {}

Blob::~Blob() {
    ring_.stop();
    if (thread_.joinable()) thread_.join();
}

void Blob::run() {
    try {
        decompress();
        drain();
    } catch (const Fault& fault) {
        fault_ = fault;
    } catch (const std::bad_alloc&) {
        fault_ = Fault{Kind::kLimit, "out of memory while reading the archive", ENOMEM};
    }
    ring_.close();
}

ssize_t Blob::read_some() {
    for (;;) {
        const ssize_t got = read(fd_, input_.data(), input_.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(Kind::kInternal, std::string("reading the archive: ") + strerror(errno), errno);
        blob_sum_.update(input_.data(), static_cast<size_t>(got));
        blob_size_ += static_cast<uint64_t>(got);
        if (options_.blob_size >= 0 && blob_size_ > static_cast<uint64_t>(options_.blob_size))
            fail(Kind::kDigest, "the archive is longer than the " + std::to_string(options_.blob_size) +
                                    " bytes that were announced");
        return got;
    }
}

/// What follows the compressed stream belongs to the blob too.
void Blob::drain() {
    while (read_some() > 0) continue;
}

void Blob::decompress() {
    struct Source {
        Blob* blob;
        std::optional<Fault> fault;
    } source{this, {}};
    const std::unique_ptr<archive, int (*)(archive*)> filter(archive_read_new(), archive_read_free);
    if (!filter) throw std::bad_alloc();
    archive_read_support_filter_gzip(filter.get());
    archive_read_support_filter_zstd(filter.get());
    archive_read_support_filter_xz(filter.get());
    archive_read_support_filter_bzip2(filter.get());
    archive_read_support_format_raw(filter.get());
    archive_read_support_format_empty(filter.get());

    const auto check = [&](int code) {
        // Exceptions must not pass through libarchive.
        if (source.fault) throw Fault(*source.fault);
        if (code == ARCHIVE_OK || code == ARCHIVE_EOF) return;
        const char* why = archive_error_string(filter.get());
        const bool no_memory = archive_errno(filter.get()) == ENOMEM;
        fail(no_memory ? Kind::kLimit : Kind::kArchive, std::string("the archive cannot be decompressed: ") +
                                                            printable(why != nullptr ? why : "damaged"));
    };
    const auto on_read = [](archive*, void* data, const void** bytes) -> la_ssize_t {
        auto* from = static_cast<Source*>(data);
        try {
            *bytes = from->blob->input_.data();
            return from->blob->read_some();
        } catch (const Fault& fault) {
            from->fault = fault;
            return -1;
        }
    };
    check(archive_read_open(filter.get(), &source, nullptr, on_read, nullptr));
    archive_entry* entry = nullptr;
    const int header = archive_read_next_header(filter.get(), &entry);
    check(header);
    if (header == ARCHIVE_EOF) return;

    const uint64_t most = options_.most_bytes + (options_.most_entries + 1024) * kMostOverhead;
    for (;;) {
        const void* bytes = nullptr;
        size_t size = 0;
        int64_t offset = 0;
        const int code = archive_read_data_block(filter.get(), &bytes, &size, &offset);
        check(code);
        if (code == ARCHIVE_EOF) return;
        tar_sum_.update(bytes, size);
        tar_size_ += size;
        if (tar_size_ > most)
            fail(Kind::kLimit, "the archive is larger than what is allowed when decompressed");
        for (size_t done = 0; done < size;) {
            Ring::Piece* piece = ring_.begin_write();
            if (piece == nullptr) return;
            piece->size = std::min(size - done, piece->bytes.size());
            memcpy(piece->bytes.data(), static_cast<const uint8_t*>(bytes) + done, piece->size);
            done += piece->size;
            ring_.end_write();
        }
    }
}

size_t Blob::next(const void*& bytes) {
    if (reading_) ring_.end_read();
    const Ring::Piece* piece = ring_.begin_read();
    reading_ = piece != nullptr;
    if (piece == nullptr) {
        // The ring was closed, so the thread will not write this any more.
        if (fault_) throw Fault(*fault_);
        return 0;
    }
    bytes = piece->bytes.data();
    return piece->size;
}

Blob::Result Blob::finish() {
    const void* ignored = nullptr;
    while (next(ignored) > 0) continue;
    thread_.join();
    Result result;
    result.blob_digest = name_of(blob_sum_.finish());
    result.diff_id = name_of(tar_sum_.finish());
    result.blob_size = blob_size_;
    result.tar_size = tar_size_;
    check_announced(result);
    return result;
}

void Blob::check_announced(const Result& result) const {
    if (options_.blob_size >= 0 && result.blob_size != static_cast<uint64_t>(options_.blob_size))
        fail(Kind::kDigest, "the archive has " + std::to_string(result.blob_size) + " bytes, not the " +
                                std::to_string(options_.blob_size) + " that were announced");
    if (!options_.blob_digest.empty() && options_.blob_digest != result.blob_digest)
        fail(Kind::kDigest,
             "the archive's digest is " + result.blob_digest + ", not the announced " + options_.blob_digest);
    if (!options_.diff_id.empty() && options_.diff_id != result.diff_id)
        fail(Kind::kDigest, "the uncompressed archive's digest is " + result.diff_id +
                                ", not the announced " + options_.diff_id);
}

}  // namespace berth::converter

#include "blob.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "decompress.h"

namespace berth::converter {
namespace {

constexpr size_t kPieces = 16;
constexpr size_t kPieceSize = size_t{256} << 10U;
constexpr size_t kInputSize = size_t{256} << 10U;

/// Headers and padding that an archive may have beside its files' data, for each entry: a bound on what a
/// bomb can make this process read, not on what an archive needs.
constexpr uint64_t kMostOverhead = 16 << 10U;
constexpr uint64_t kFreeEntries = 1024;

}  // namespace

Blob::Blob(int fd, const Options& options)
    : fd_(fd),
      options_(options),
      stop_(eventfd(0, EFD_CLOEXEC)),
      ring_(kPieces, kPieceSize),
      input_(kInputSize) {
    if (!stop_) fail(Kind::kInternal, std::string("eventfd: ") + strerror(errno), errno);
    // poll(2) does not see the end of a pipe whose writer left before it was opened here; a read that does
    // not wait does.
    const int flags = fcntl(fd_, F_GETFL);
    if (flags < 0 || fcntl(fd_, F_SETFL, flags | O_NONBLOCK) < 0)
        fail(Kind::kInternal, std::string("fcntl: ") + strerror(errno), errno);
    thread_ = std::thread([this] { run(); });
}

Blob::~Blob() {
    ring_.stop();
    // The thread may be waiting for a sender that has nothing to say.
    eventfd_write(stop_.get(), 1);
    if (thread_.joinable()) thread_.join();
}

void Blob::run() {
    try {
        decompress_all();
        drain();
    } catch (const Fault& fault) {
        if (fault.kind == Kind::kArchive && !options_.blob_digest.empty()) drain_anyway();
        fault_ = fault;
    } catch (const std::bad_alloc&) {
        fault_ = Fault{Kind::kLimit, "out of memory while reading the archive", ENOMEM};
    }
    blob_digest_ = name_of(blob_sum_.finish());
    ring_.close();
}

/// 0 at the end, or once nobody wants more.
ssize_t Blob::read_some() {
    pollfd wait[] = {{fd_, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    for (;;) {
        if (poll(&wait[1], 1, 0) > 0) return 0;
        const ssize_t got = read(fd_, input_.data(), input_.size());
        if (got < 0 && errno == EAGAIN) poll(wait, 2, -1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got < 0) fail(Kind::kInternal, std::string("reading the archive: ") + strerror(errno), errno);
        blob_sum_.update(input_.data(), static_cast<size_t>(got));
        blob_size_ += static_cast<uint64_t>(got);
        if (options_.blob_size >= 0 && blob_size_ > static_cast<uint64_t>(options_.blob_size))
            fail(Kind::kDigest, "the archive is longer than the " + std::to_string(options_.blob_size) +
                                    " bytes that were announced");
        return got;
    }
}

/// Of a damaged archive the digest says whether it is the announced one. Not being able to read it says no
/// more than the damage.
void Blob::drain_anyway() {
    try {
        drain();
    } catch (const Fault&) {
        return;
    }
}

/// What follows the compressed stream belongs to the blob too.
void Blob::drain() {
    while (read_some() > 0) continue;
}

void Blob::decompress_all() {
    const Input input = [this]() -> std::string_view {
        const auto size = static_cast<size_t>(read_some());
        return {reinterpret_cast<const char*>(input_.data()), size};
    };
    decompress(input, [this](std::string_view bytes) { return emit(bytes); });
}

/// Hands over uncompressed bytes. False once nobody wants them any more.
bool Blob::emit(std::string_view bytes) {
    tar_sum_.update(bytes.data(), bytes.size());
    tar_size_ += bytes.size();
    if (tar_size_ > options_.most_bytes + (options_.most_entries + kFreeEntries) * kMostOverhead)
        fail(Kind::kLimit, "the archive is larger than what is allowed when decompressed");
    while (!bytes.empty()) {
        Ring::Piece* piece = ring_.begin_write();
        if (piece == nullptr) return false;
        piece->size = std::min(bytes.size(), piece->bytes.size());
        memcpy(piece->bytes.data(), bytes.data(), piece->size);
        bytes.remove_prefix(piece->size);
        ring_.end_write();
    }
    return true;
}

size_t Blob::next(const void*& bytes) {
    if (reading_) ring_.end_read();
    const Ring::Piece* piece = ring_.begin_read();
    reading_ = piece != nullptr;
    if (piece == nullptr) {
        // The ring was closed, so the thread will not write this any more.
        if (fault_) {
            if (fault_->kind == Kind::kArchive) check_blob();
            throw Fault(*fault_);
        }
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
    result.blob_digest = blob_digest_;
    result.diff_id = name_of(tar_sum_.finish());
    result.blob_size = blob_size_;
    result.tar_size = tar_size_;
    check_blob();
    if (!options_.diff_id.empty() && options_.diff_id != result.diff_id)
        fail(Kind::kDigest, "the uncompressed archive's digest is " + result.diff_id +
                                ", not the announced " + options_.diff_id);
    return result;
}

void Blob::check_blob() const {
    if (options_.blob_size >= 0 && blob_size_ != static_cast<uint64_t>(options_.blob_size))
        fail(Kind::kDigest, "the archive has " + std::to_string(blob_size_) + " bytes, not the " +
                                std::to_string(options_.blob_size) + " that were announced");
    if (!options_.blob_digest.empty() && options_.blob_digest != blob_digest_)
        fail(Kind::kDigest,
             "the archive's digest is " + blob_digest_ + ", not the announced " + options_.blob_digest);
}

}  // namespace berth::converter

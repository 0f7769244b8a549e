#pragma once

#include <optional>
#include <string_view>
#include <thread>

#include "../sys/fd.h"
#include "digest.h"
#include "fault.h"
#include "options.h"
#include "ring.h"

namespace berth::converter {

/// The archive as it comes in: a thread of its own reads it, undoes its compression, and hashes it before and
/// after.
class Blob {
  public:
    Blob(int fd, const Options& options);
    ~Blob();
    Blob(const Blob&) = delete;
    Blob& operator=(const Blob&) = delete;

    /// The next bytes of the uncompressed archive, valid until the next call; 0 at the end. Throws what
    /// stopped the thread.
    size_t next(const void*& bytes);

    struct Result {
        std::string blob_digest;
        std::string diff_id;
        uint64_t blob_size = 0;
        /// Of the uncompressed archive.
        uint64_t tar_size = 0;
    };

    /// Reads what is left and compares with what was announced. Throws kDigest.
    Result finish();

  private:
    void run();
    void decompress_all();
    bool emit(std::string_view bytes);
    void drain();
    void drain_anyway();
    ssize_t read_some();
    void check_blob() const;

    int fd_;
    const Options& options_;
    Fd stop_;
    Ring ring_;
    bool reading_ = false;
    std::vector<uint8_t> input_;
    Sha256 blob_sum_;
    Sha256 tar_sum_;
    uint64_t blob_size_ = 0;
    uint64_t tar_size_ = 0;
    /// The thread's, until it has closed the ring.
    std::string blob_digest_;
    std::optional<Fault> fault_;
    std::thread thread_;
};

}  // namespace berth::converter

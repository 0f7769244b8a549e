#pragma once

#include <sqfs/io.h>

#include <algorithm>
#include <cstdint>

namespace berth::converter {

/// The output file as libsquashfs writes to it. Appends only, but for the superblock. libsquashfs has one
/// code for every I/O error: this keeps errno.
class Output : public sqfs_file_t {
  public:
    explicit Output(int fd);
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    int fd() const { return fd_; }
    /// Bytes from the start that are in use. What lies beyond is cut off by finish().
    uint64_t size() const { return size_; }
    void rewind(uint64_t size) {
        size_ = size;
        submitted_ = std::min(submitted_, size);
    }
    /// Somebody has appended through fd().
    void has_grown(uint64_t size);
    /// Appends; throws kStorage.
    void append(const void* bytes, uint64_t count);
    /// Makes the file end where its content ends.
    void finish();
    /// Throws what a return code of libsquashfs stands for, if it is an error.
    void check(int code, const char* doing) const;

  private:
    int write_at_offset(uint64_t offset, const void* bytes, size_t count);
    void start_writeback();
    int fd_;
    uint64_t size_ = 0;
    /// Up to here the kernel has been told to write to the disk.
    uint64_t submitted_ = 0;
    int error_ = 0;
};

}  // namespace berth::converter

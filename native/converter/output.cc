#include "output.h"

#include <fcntl.h>
#include <sqfs/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <string>

#include "fault.h"

namespace berth::converter {
namespace {

// Bytes: enough for a disk to write them in one go.
constexpr uint64_t kWriteback = uint64_t{16} << 20U;

}  // namespace

Output::Output(int fd) : sqfs_file_t{}, fd_(fd) {
    base.destroy = [](sqfs_object_t*) {};
    read_at = [](sqfs_file_t* file, sqfs_u64 offset, void* buffer, size_t count) {
        auto* self = static_cast<Output*>(file);
        auto* at = static_cast<char*>(buffer);
        while (count > 0) {
            const ssize_t got = pread(self->fd_, at, count, static_cast<off_t>(offset));
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) {
                self->error_ = got < 0 ? errno : EIO;
                return static_cast<int>(SQFS_ERROR_IO);
            }
            at += got;
            offset += static_cast<sqfs_u64>(got);
            count -= static_cast<size_t>(got);
        }
        return 0;
    };
    write_at = [](sqfs_file_t* file, sqfs_u64 offset, const void* bytes, size_t count) {
        return static_cast<Output*>(file)->write_at_offset(offset, bytes, count);
    };
    get_size = [](const sqfs_file_t* file) -> sqfs_u64 { return static_cast<const Output*>(file)->size_; };
    truncate = [](sqfs_file_t* file, sqfs_u64 size) {
        static_cast<Output*>(file)->size_ = size;
        return 0;
    };
}

int Output::write_at_offset(uint64_t offset, const void* bytes, size_t count) {
    const auto* at = static_cast<const char*>(bytes);
    while (count > 0) {
        const ssize_t written = pwrite(fd_, at, count, static_cast<off_t>(offset));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            error_ = written < 0 ? errno : EIO;
            return SQFS_ERROR_IO;
        }
        at += written;
        offset += static_cast<uint64_t>(written);
        count -= static_cast<size_t>(written);
    }
    if (offset > size_) has_grown(offset);
    return 0;
}

void Output::has_grown(uint64_t size) {
    size_ = size;
    if (size_ - submitted_ >= kWriteback) start_writeback();
}

/// berthd syncs the file before anybody may use it: most of it should be on the disk by then. Best effort:
/// there are file systems that cannot be asked (sync_file_range(2)).
void Output::start_writeback() {
    sync_file_range(fd_, static_cast<off64_t>(submitted_), static_cast<off64_t>(size_ - submitted_),
                    SYNC_FILE_RANGE_WRITE);
    submitted_ = size_;
}

void Output::append(const void* bytes, uint64_t count) {
    check(write_at_offset(size_, bytes, count), "writing");
}

void Output::finish() {
    if (ftruncate(fd_, static_cast<off_t>(size_)) < 0) fail_storage("ftruncate", errno);
}

void Output::check(int code, const char* doing) const {
    if (code >= 0) return;
    if (error_ != 0) fail_storage(doing, error_);
    if (code == SQFS_ERROR_ALLOC) throw std::bad_alloc();
    fail(Kind::kInternal, std::string(doing) + ": libsquashfs error " + std::to_string(code));
}

}  // namespace berth::converter

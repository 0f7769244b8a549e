#include "file.h"

#include <fcntl.h>

namespace berth {

int read_file(const char* path, size_t limit, std::string& content, Failure& failure) {
    const Fd file(open(path, O_RDONLY | O_CLOEXEC));
    if (!file) return failure.set("open", path);
    struct stat status = {};
    if (fstat(file.get(), &status) < 0) return failure.set("fstat", path);
    if (static_cast<size_t>(status.st_size) > limit) return failure.set("read", path, EFBIG);
    content.resize(static_cast<size_t>(status.st_size));
    size_t length = 0;
    while (length < content.size()) {
        const ssize_t count = read(file.get(), content.data() + length, content.size() - length);
        if (count < 0) return failure.set("read", path);
        if (count == 0) break;
        length += static_cast<size_t>(count);
    }
    content.resize(length);
    return 0;
}

Fd open_file(const char* path, struct stat& status, Failure& failure) {
    Fd file(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file) {
        failure.set("open", path);
        return Fd();
    }
    if (fstat(file.get(), &status) < 0) {
        failure.set("fstat", path);
        return Fd();
    }
    return file;
}

}  // namespace berth

#include "paths.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "../sys/fd.h"

namespace berth::builder {
namespace {

constexpr long kProcMagic = 0x9fa0;  // linux/magic.h PROC_SUPER_MAGIC

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// proc(5): blanks, newlines and backslashes are written as a backslash and three octal digits.
std::string unescape(const std::string& text) {
    std::string result;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] != '\\' || i + 3 >= text.size()) {
            result.push_back(text[i]);
            continue;
        }
        result.push_back(static_cast<char>(std::strtoul(text.substr(i + 1, 3).c_str(), nullptr, 8)));
        i += 3;
    }
    return result;
}

/// This process's descriptors, as the kernel shows them. Anything else in that place could tell any name.
int open_descriptors(Fd& directory, Failure& failure) {
    Fd opened(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct statfs filesystem = {};
    if (!opened || fstatfs(opened.get(), &filesystem) < 0) return failure.set("open", "/proc/self/fd");
    if (filesystem.f_type != kProcMagic) return failure.set("statfs", "/proc is no procfs", EBADF);
    directory = std::move(opened);
    return 0;
}

}  // namespace

bool is_within(const std::string& path, const std::string& directory) {
    if (directory == "/") return true;
    if (path.compare(0, directory.size(), directory) != 0) return false;
    return path.size() == directory.size() || path[directory.size()] == '/';
}

std::string normalise(const std::string& path) {
    std::string result;
    for (size_t start = 0; start < path.size();) {
        size_t end = path.find('/', start);
        if (end == std::string::npos) end = path.size();
        const std::string part = path.substr(start, end - start);
        if (!part.empty() && part != ".") result.append("/").append(part);
        start = end + 1;
    }
    return result.empty() ? "/" : result;
}

bool has_dot_dot(const std::string& path) {
    return (path + "/").find("/../") != std::string::npos;
}

std::string parent_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

int name_of(int fd, std::string& name, Failure& failure) {
    static Fd directory;
    if (!directory && open_descriptors(directory, failure) < 0) return -1;
    char link[16];
    std::snprintf(link, sizeof link, "%d", fd);
    char target[PATH_MAX];
    const ssize_t length = readlinkat(directory.get(), link, target, sizeof target);
    if (length < 0) return failure.set("readlink", "/proc/self/fd");
    name.assign(target, static_cast<size_t>(length));
    if (length == sizeof target || name[0] != '/') return failure.set("readlink", name.c_str(), ENAMETOOLONG);
    struct stat status = {};
    if (fstat(fd, &status) < 0) return failure.set("fstat", name.c_str());
    if (status.st_nlink == 0 && ends_with(name, " (deleted)"))
        return failure.set("readlink", name.c_str(), ENOENT);
    return 0;
}

int name_in(int root, int fd, std::string& name, Failure& failure) {
    std::string top;
    if (name_of(root, top, failure) < 0 || name_of(fd, name, failure) < 0) return -1;
    if (!is_within(name, top)) return failure.set("readlink", name.c_str(), EXDEV);
    if (top != "/") name.erase(0, top.size());
    if (name.empty()) name = "/";
    return 0;
}

int has_mounts_below(const std::string& name, Failure& failure) {
    std::ifstream mounts("/proc/self/mountinfo");
    if (!mounts) return failure.set("open", "/proc/self/mountinfo", EIO);
    for (std::string line; std::getline(mounts, line);) {
        // proc(5): ID PARENT DEVICE ROOT POINT …
        std::istringstream fields(line);
        std::string point;
        for (int field = 0; field < 5; field++) fields >> point;
        point = unescape(point);
        if (point != name && is_within(point, name)) return 1;
    }
    return 0;
}

}  // namespace berth::builder

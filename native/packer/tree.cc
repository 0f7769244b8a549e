#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "../sys/fd.h"

namespace berth::packer {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

// A header of pax may have 1 MiB with the converter: a fraction of that.
constexpr size_t kMostExtents = 16384;

bool starts_with(const std::string& text, const char* prefix) {
    return text.compare(0, std::strlen(prefix), prefix) == 0;
}

struct CloseFile {
    void operator()(FILE* file) const { std::fclose(file); }
};

/// Is the id mapped in this user namespace? One that is not shows as that of nobody.
bool is_mapped(int process, const char* map, uint32_t id) {
    Fd opened(openat(process, map, O_RDONLY | O_CLOEXEC));
    const std::unique_ptr<FILE, CloseFile> file(fdopen(opened.get(), "r"));
    if (file) opened.release();
    // user_namespaces(7): lines of three numbers.
    char line[128];
    while (file && std::fgets(line, sizeof line, file.get()) != nullptr) {
        char* at = line;
        const unsigned long inside = std::strtoul(at, &at, 10);
        std::strtoul(at, &at, 10);
        const unsigned long count = std::strtoul(at, &at, 10);
        if (id >= inside && id - inside < count) return true;
    }
    return false;
}

class Walk {
  public:
    Walk(int top, int process, Marks marks, Archive& archive, Failure& failure)
        : top_(top), marks_(marks), archive_(archive), failure_(failure) {
        has_nobody_ = is_mapped(process, "uid_map", kNobody) && is_mapped(process, "gid_map", kNobody);
    }

    int run() {
        waiting_.emplace_back("");
        while (!waiting_.empty()) {
            const std::string path = waiting_.back();
            waiting_.pop_back();
            if (archive_directory(path) < 0) return -1;
        }
        return archive_.finish(failure_);
    }

  private:
    // proc(5), /proc/sys/kernel/overflowuid.
    static constexpr uint32_t kNobody = 65534;

    struct CloseDirectory {
        void operator()(DIR* directory) const { closedir(directory); }
    };

    /// By its path from the top, so that depth costs no descriptors. Nothing in it may lead elsewhere.
    Fd open_below(const std::string& path, int flags) {
        open_how how = {};
        how.flags = static_cast<uint64_t>(flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
        const char* name = path.empty() ? "." : path.c_str();
        Fd fd(static_cast<int>(syscall(SYS_openat2, top_, name, &how, sizeof how)));
        if (!fd) failure_.set("open", path.c_str());
        return fd;
    }

    int archive_directory(const std::string& path) {
        const Fd directory = open_below(path, O_DIRECTORY);
        struct stat status;
        if (!directory) return -1;
        if (fstat(directory.get(), &status) < 0) return failure_.set("fstat", path.c_str());
        Entry entry = entry_of(path.empty() ? "." : path, '5', status);
        bool is_opaque = false;
        if (read_attributes(directory.get(), entry, is_opaque) < 0) return -1;
        if (archive_.add(entry, failure_) < 0) return -1;
        if (is_opaque && add_mark(path, ".wh..wh..opq") < 0) return -1;
        std::vector<std::string> names;
        if (list(directory.get(), path, names) < 0) return -1;
        for (const std::string& name : names) {
            if (archive_child(directory.get(), path, name) < 0) return -1;
        }
        return 0;
    }

    int list(int directory, const std::string& path, std::vector<std::string>& names) {
        Fd copy(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!copy) return failure_.set("open", path.c_str());
        const std::unique_ptr<DIR, CloseDirectory> stream(fdopendir(copy.get()));
        if (!stream) return failure_.set("fdopendir", path.c_str());
        copy.release();
        errno = 0;
        while (const dirent* found = readdir(stream.get())) {
            if (std::strcmp(found->d_name, ".") != 0 && std::strcmp(found->d_name, "..") != 0)
                names.emplace_back(found->d_name);
        }
        if (errno != 0) return failure_.set("readdir", path.c_str());
        // The same tree gives the same archive.
        std::sort(names.begin(), names.end());
        return 0;
    }

    int archive_child(int directory, const std::string& parent, const std::string& name) {
        const std::string path = parent.empty() ? name : parent + "/" + name;
        struct stat status;
        if (fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
            return failure_.set("stat", path.c_str());
        if (S_ISDIR(status.st_mode)) {
            waiting_.push_back(path);
            return 0;
        }
        if (S_ISCHR(status.st_mode) && status.st_rdev == 0 && marks_ != Marks::kNone)
            return add_mark(parent, ".wh." + name);
        // No image has devices, and a socket's end is gone.
        if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode) || S_ISSOCK(status.st_mode)) return 0;
        if (status.st_nlink > 1) {
            const auto [first, is_new] = linked_.emplace(std::pair(status.st_dev, status.st_ino), path);
            if (!is_new) {
                Entry link = entry_of(path, '1', status);
                link.target = first->second;
                return archive_.add(link, failure_);
            }
        }
        if (S_ISREG(status.st_mode)) return archive_file(path);
        Entry entry = entry_of(path, S_ISLNK(status.st_mode) ? '2' : '6', status);
        if (S_ISLNK(status.st_mode) && read_link(directory, name, entry) < 0) return -1;
        return archive_.add(entry, failure_);
    }

    int read_link(int directory, const std::string& name, Entry& entry) {
        char target[4097];
        const ssize_t length = readlinkat(directory, name.c_str(), target, sizeof target);
        if (length < 0) return failure_.set("readlink", entry.path.c_str());
        entry.target.assign(target, static_cast<size_t>(length));
        return 0;
    }

    /// A whiteout.
    int add_mark(const std::string& parent, const std::string& name) {
        Entry entry;
        entry.path = parent.empty() ? name : parent + "/" + name;
        entry.mode = 0644;
        return archive_.add(entry, failure_);
    }

    Entry entry_of(const std::string& path, char type, const struct stat& status) const {
        Entry entry;
        entry.path = path;
        entry.type = type;
        entry.mode = status.st_mode & 07777;
        entry.uid = owner(status.st_uid);
        entry.gid = owner(status.st_gid);
        entry.mtime = status.st_mtime;
        return entry;
    }

    uint32_t owner(uint32_t id) const { return id == kNobody && !has_nobody_ ? 0 : id; }

    /// Those that images keep; of the others only whether the directory hides what is below it.
    int read_attributes(int fd, Entry& entry, bool& is_opaque) {
        std::vector<char> names(65536);
        const ssize_t length = flistxattr(fd, names.data(), names.size());
        if (length < 0 && errno == EOPNOTSUPP) return 0;
        if (length < 0) return failure_.set("listxattr", entry.path.c_str());
        for (const char* name = names.data(); name < names.data() + length; name += std::strlen(name) + 1) {
            const std::string attribute = name;
            const bool is_mark =
                attribute == (marks_ == Marks::kTrusted ? "trusted.overlay.opaque" : "user.overlay.opaque");
            const bool is_kept =
                attribute == "security.capability" ||
                (starts_with(attribute, "user.") && !starts_with(attribute, "user.overlay."));
            if (!is_mark && !is_kept) continue;
            std::vector<char> value(65536);
            const ssize_t size = fgetxattr(fd, name, value.data(), value.size());
            if (size < 0 && errno == ENODATA) continue;
            if (size < 0) return failure_.set("getxattr", entry.path.c_str());
            if (is_mark) is_opaque = marks_ != Marks::kNone && size == 1 && value[0] == 'y';
            if (is_kept) entry.attributes.push_back({attribute, {value.data(), static_cast<size_t>(size)}});
        }
        return 0;
    }

    int archive_file(const std::string& path) {
        const Fd file = open_below(path, 0);
        struct stat status;
        if (!file) return -1;
        if (fstat(file.get(), &status) < 0) return failure_.set("fstat", path.c_str());
        if (!S_ISREG(status.st_mode)) return failure_.set("open", path.c_str(), ESTALE);
        Entry entry = entry_of(path, '0', status);
        entry.size = static_cast<uint64_t>(status.st_size);
        bool ignored = false;
        if (read_attributes(file.get(), entry, ignored) < 0) return -1;
        std::vector<Extent> extents;
        if (find_extents(file.get(), status, extents) < 0) return -1;
        const bool is_whole = extents.size() == 1 && extents[0].size == entry.size;
        const int added = is_whole || entry.size == 0 ? archive_.add(entry, failure_)
                                                      : archive_.add_sparse(entry, extents, failure_);
        if (added < 0) return -1;
        uint64_t total = 0;
        for (const Extent& extent : extents) {
            if (copy(file.get(), extent, path) < 0) return -1;
            total += extent.size;
        }
        return archive_.pad(total, failure_);
    }

    int find_extents(int file, const struct stat& status, std::vector<Extent>& extents) {
        const off_t size = status.st_size;
        const bool has_holes = status.st_blocks * 512 < size;
        for (off_t at = 0; at < size && has_holes && extents.size() < kMostExtents;) {
            const off_t data = lseek(file, at, SEEK_DATA);
            if (data < 0 && errno == ENXIO) return 0;
            const off_t hole = data < 0 ? -1 : lseek(file, data, SEEK_HOLE);
            if (hole < 0) return failure_.set("lseek", "a file with holes");
            extents.push_back(
                {static_cast<uint64_t>(data), static_cast<uint64_t>(std::min(hole, size) - data)});
            at = hole;
        }
        if (!has_holes || extents.size() == kMostExtents) extents.assign(1, {0, static_cast<uint64_t>(size)});
        if (size == 0) extents.clear();
        return 0;
    }

    int copy(int file, const Extent& extent, const std::string& path) {
        piece_.resize(kPiece);
        for (uint64_t done = 0; done < extent.size;) {
            const size_t wanted = std::min<uint64_t>(kPiece, extent.size - done);
            const ssize_t got = pread(file, piece_.data(), wanted, static_cast<off_t>(extent.offset + done));
            if (got < 0) return failure_.set("read", path.c_str());
            // Somebody has cut it meanwhile: the archive needs what was announced.
            if (got == 0) return failure_.set("read", path.c_str(), ESTALE);
            if (archive_.write(piece_.data(), static_cast<size_t>(got), failure_) < 0) return -1;
            done += static_cast<uint64_t>(got);
        }
        return 0;
    }

    int top_;
    Marks marks_;
    Archive& archive_;
    Failure& failure_;
    bool has_nobody_ = true;
    std::vector<std::string> waiting_;
    std::map<std::pair<dev_t, ino_t>, std::string> linked_;
    std::vector<char> piece_;
};

}  // namespace

int archive_tree(int directory, int process, Marks marks, Archive& archive, Failure& failure) {
    return Walk(directory, process, marks, archive, failure).run();
}

}  // namespace berth::packer

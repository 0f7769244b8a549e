#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::converter {

/// "None" of every 32-bit index.
constexpr uint32_t kNone = 0xFFFFFFFF;

constexpr size_t kMostPath = 4095;
constexpr size_t kMostName = 255;

enum class Type : uint8_t {
    kDirectory,
    kFile,
    kSymlink,
    kFifo,
    kHardLink,
    /// A character or block device: no image has one, but it takes its name's place and hard links may lead
    /// to it.
    kDevice,
    /// `path` is gone from the layers below.
    kWhiteout,
    /// What is in `path` is gone from the layers below.
    kOpaque,
};

/// One step of a layer, in the order of its archive.
struct Entry {
    Type type = Type::kFile;
    /// Clean: no slash at either end, no empty, "." or ".." component. The root is "".
    std::string path;
    /// Permission bits with setuid, setgid and sticky.
    uint32_t mode = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    /// Seconds since 1970.
    uint32_t mtime = 0;
    /// Index of a set of extended attributes in the layer, or kNone.
    uint32_t xattrs = kNone;
    /// Index of a file's content in the layer; kNone is no bytes.
    uint32_t content = kNone;
    /// What a symbolic link says; the clean path that a hard link leads to.
    std::string target;
};

/// Appends entries to a string, each path as its difference from the one before.
class EntryWriter {
  public:
    explicit EntryWriter(std::string& bytes) : bytes_(bytes) {}
    void add(const Entry& entry);

  private:
    std::string& bytes_;
    std::string last_;
};

/// Reads them back. Throws kLayer for bytes that no EntryWriter wrote.
class EntryReader {
  public:
    explicit EntryReader(std::string_view bytes) : rest_(bytes) {}
    /// False at the end.
    bool next(Entry& entry);

  private:
    uint32_t number();
    std::string_view take(size_t count);
    std::string_view rest_;
};

/// The path without what does not change where it leads: as if it started at the root and ".." stopped there.
std::string clean(std::string_view path);

/// Is it what clean() returns, of a length that can be stored?
bool is_clean(std::string_view path);

}  // namespace berth::converter

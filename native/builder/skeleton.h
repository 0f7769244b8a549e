#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "../sys/failure.h"
#include "../sys/fd.h"
#include "spec.h"

namespace berth::builder {

/// The layer above the image: holds nothing but the mount points and the files that Berth writes, in
/// directories that look like the image's.
class Skeleton {
  public:
    Skeleton(const Spec& spec, int layer, int image);

    /// Where `path` leads in the image once its symbolic links are followed; what does not exist keeps its
    /// name. The result starts with '/'.
    int resolve(const std::string& path, std::string& resolved, Failure& failure);

    /// Makes the directory or the empty file `resolved` is, and the directories above it.
    int make_mount_point(const std::string& resolved, bool is_directory, Failure& failure);

    /// Writes a file, followed by the image's own where asked.
    int write_file(const File& file, Failure& failure);

    /// Gives the layer's top, or the directory given instead, the image's owner and mode.
    int copy_top(Failure& failure);
    int copy_top(int directory, Failure& failure);

    /// Where the image's file or directory has an owner without a mapping, puts one of the user's in its
    /// place: overlayfs does not let even root change such a file (EOVERFLOW). What is not there is left out.
    int adopt(const char* path, Failure& failure);

    bool image_has_directory(const char* path);

    /// The files written until now, by their names in the image.
    const std::vector<std::string>& written() const { return written_; }

  private:
    int adopt_directory(const char* path, mode_t mode, Failure& failure);
    int resolve_file(const File& file, std::string& resolved, Failure& failure);
    int make_directories(const std::string& resolved, Failure& failure);
    int copy_attributes(const char* relative, int target, Failure& failure);
    int read_image_file(const std::string& resolved, std::string& content, Failure& failure);

    const Spec& spec_;
    int layer_;
    int image_;
    std::vector<std::string> written_;
};

}  // namespace berth::builder

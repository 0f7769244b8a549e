#pragma once

#include <string>
#include <vector>

namespace berth::builder {

/// What a user's mounts may come from: the site's directories, by their configured names and by the names
/// that these lead to.
class SourcePolicy {
  public:
    /// Looks up the site's directories, with the user's rights. Only where a mount has to be checked.
    SourcePolicy(const std::vector<std::string>& allowed, const std::vector<std::string>& denied);

    /// Why the user may not mount what the kernel calls `name`; empty when they may.
    std::string refusal(const std::string& name) const;

  private:
    std::vector<std::string> allowed_;
    std::vector<std::string> denied_;
};

/// What a user's mounts may cover, by names resolved in the image.
class DestinationPolicy {
  public:
    /// Nothing may be mounted there, nor below it, nor on what contains it.
    void deny(const std::string& resolved, const char* why);

    /// Exactly this file may not be covered.
    void keep(const std::string& resolved);

    /// Why the user may not mount something there; empty when they may.
    std::string refusal(const std::string& resolved) const;

  private:
    struct Denied {
        std::string directory;
        const char* why;
    };
    std::vector<Denied> denied_;
    std::vector<std::string> kept_;
};

}  // namespace berth::builder

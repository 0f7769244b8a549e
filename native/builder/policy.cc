#include "policy.h"

#include <fcntl.h>

#include "../sys/fd.h"
#include "paths.h"

namespace berth::builder {
namespace {

/// A directory of the site's, and what it leads to where that has another name and the user may look.
void add_directory(const std::string& configured, std::vector<std::string>& directories) {
    const std::string path = normalise(configured);
    directories.push_back(path);
    const Fd opened(open(path.c_str(), O_PATH | O_CLOEXEC));
    std::string name;
    Failure ignored;
    if (opened && name_of(opened.get(), name, ignored) == 0 && name != path) directories.push_back(name);
}

std::string list_of(const std::vector<std::string>& words) {
    std::string list;
    for (const std::string& word : words) list.append(list.empty() ? "" : ", ").append(word);
    return list;
}

/// How `path` and `directory` have to do with each other; nullptr when they have not.
const char* relation(const std::string& path, const std::string& directory) {
    if (path == directory) return "is";
    if (is_within(path, directory)) return "is below";
    return is_within(directory, path) ? "contains" : nullptr;
}

}  // namespace

SourcePolicy::SourcePolicy(const std::vector<std::string>& allowed, const std::vector<std::string>& denied) {
    for (const std::string& directory : allowed) add_directory(directory, allowed_);
    for (const std::string& directory : denied) add_directory(directory, denied_);
}

std::string SourcePolicy::refusal(const std::string& name) const {
    for (const std::string& directory : denied_) {
        const char* how = relation(name, directory);
        if (how == nullptr) continue;
        std::string why = name;
        why.append(" ").append(how).append(" ").append(directory);
        return why.append(", which the site keeps out of containers");
    }
    if (allowed_.empty()) return "";
    for (const std::string& directory : allowed_) {
        if (is_within(name, directory)) return "";
    }
    return name + " is not below what the site lets users mount: " + list_of(allowed_);
}

void DestinationPolicy::deny(const std::string& resolved, const char* why) {
    denied_.push_back({resolved, why});
}

void DestinationPolicy::keep(const std::string& resolved) {
    kept_.push_back(resolved);
}

std::string DestinationPolicy::refusal(const std::string& resolved) const {
    if (resolved == "/") return "it would take the place of the whole image";
    for (const Denied& denied : denied_) {
        const char* how = relation(resolved, denied.directory);
        if (how != nullptr)
            return "its destination " + resolved + " " + how + " " + denied.directory + ", " + denied.why;
    }
    for (const std::string& file : kept_) {
        if (resolved == file) return "its destination " + resolved + " is a file that Berth writes";
    }
    return "";
}

}  // namespace berth::builder

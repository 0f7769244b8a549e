#include "options.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

namespace berth::converter {

const char* const kUsage =
    "usage: berth-converter layer    --output FD [OPTION...] < archive\n"
    "       berth-converter image    --output FD [OPTION...] < archive\n"
    "       berth-converter assemble --output FD --layer FD [--layer FD...]\n"
    "options: --level 1..22  --block-size BYTES  --jobs N  --blob-digest sha256:HEX  --blob-size BYTES\n"
    "         --diff-id sha256:HEX  --most-bytes N  --most-entries N\n";

namespace {

constexpr size_t kMostLayers = 1024;
constexpr uint64_t kMostJobs = 64;
// Every entry is numbered with 32 bits, and no image that anybody has seen comes near this.
constexpr uint64_t kMostEntries = 1'000'000'000;

std::optional<uint64_t> number(std::string_view text, uint64_t least, uint64_t most) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) return {};
    return value;
}

bool is_digest(std::string_view text) {
    constexpr std::string_view kPrefix = "sha256:";
    if (text.substr(0, kPrefix.size()) != kPrefix || text.size() != kPrefix.size() + 64) return false;
    return text.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

/// A descriptor of a regular file that was inherited, opened as it has to be. Standard streams are none.
std::optional<int> descriptor(std::string_view text, int access) {
    const auto fd = number(text, 3, 1 << 20);
    struct stat status {};
    if (!fd || fstat(static_cast<int>(*fd), &status) < 0 || !S_ISREG(status.st_mode)) return {};
    const int flags = fcntl(static_cast<int>(*fd), F_GETFL);
    const int mode = flags & O_ACCMODE;
    if (flags < 0 || (flags & O_APPEND) != 0 || (mode != access && mode != O_RDWR)) return {};
    if (access == O_RDWR && status.st_size != 0) return {};
    return static_cast<int>(*fd);
}

unsigned processors() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0) return 1;
    return static_cast<unsigned>(std::clamp(CPU_COUNT(&set), 1, 8));
}

template <typename Number, typename Value>
bool take(Number& target, const std::optional<Value>& value) {
    if (value) target = static_cast<Number>(*value);
    return value.has_value();
}

bool take_digest(std::string& target, std::string_view text) {
    target = text;
    return is_digest(text);
}

bool set_block_size(Options& options, std::string_view text) {
    const auto size = number(text, 4096, 1 << 20);
    return take(options.block_size, size) && (*size & (*size - 1)) == 0;
}

bool add_layer(Options& options, std::string_view text) {
    const auto fd = descriptor(text, O_RDONLY);
    if (fd) options.layers.push_back(*fd);
    return fd.has_value() && options.layers.size() <= kMostLayers;
}

bool set(Options& options, std::string_view name, std::string_view value) {
    if (name == "--output") return take(options.output, descriptor(value, O_RDWR));
    if (options.mode == Mode::kAssemble) return name == "--layer" && add_layer(options, value);
    if (name == "--level") return take(options.level, number(value, 1, 22));
    if (name == "--block-size") return set_block_size(options, value);
    if (name == "--jobs") return take(options.jobs, number(value, 1, kMostJobs));
    if (name == "--blob-digest") return take_digest(options.blob_digest, value);
    if (name == "--diff-id") return take_digest(options.diff_id, value);
    if (name == "--blob-size") return take(options.blob_size, number(value, 0, INT64_MAX));
    if (name == "--most-bytes") return take(options.most_bytes, number(value, 0, INT64_MAX));
    if (name == "--most-entries") return take(options.most_entries, number(value, 0, kMostEntries));
    return false;
}

bool set_mode(Options& options, std::string_view name) {
    if (name == "layer")
        options.mode = Mode::kLayer;
    else if (name == "assemble")
        options.mode = Mode::kAssemble;
    else if (name == "image")
        options.mode = Mode::kImage;
    else
        return false;
    return true;
}

}  // namespace

bool parse(int argc, char** argv, Options& options, std::string& fault) {
    options.jobs = processors();
    if (argc < 2 || !set_mode(options, argv[1])) {
        fault = "the first argument is layer, image or assemble";
        return false;
    }
    for (int i = 2; i < argc; i += 2) {
        const char* value = i + 1 < argc ? argv[i + 1] : "";
        if (set(options, argv[i], value)) continue;
        fault = std::string("not an option here, or not a value for it: ") + argv[i] + " " + value;
        return false;
    }
    if (options.output < 0)
        fault = "--output is missing";
    else if (options.mode == Mode::kAssemble && options.layers.empty())
        fault = "--layer is missing";
    return fault.empty();
}

}  // namespace berth::converter

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace berth::converter {

enum class Mode { kLayer, kAssemble, kImage };

/// The command line. Sizes are bytes, digests are "sha256:" and 64 hexadecimal digits.
struct Options {
    Mode mode = Mode::kLayer;
    int output = -1;
    /// Bottom first.
    std::vector<int> layers;
    int level = 6;
    uint32_t block_size = 128 * 1024;
    unsigned jobs = 1;
    /// Empty where nothing was announced.
    std::string blob_digest;
    std::string diff_id;
    int64_t blob_size = -1;
    /// Of files' data, holes not counted.
    uint64_t most_bytes = uint64_t{1} << 42U;
    uint64_t most_entries = 8'000'000;
};

/// What the program takes, for people.
extern const char* const kUsage;

/// Fills in `options`. False, with the reason in `fault`, where the command line is not one.
bool parse(int argc, char** argv, Options& options, std::string& fault);

}  // namespace berth::converter

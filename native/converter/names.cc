#include "names.h"

#include <sys/random.h>

#include <cstring>

#include "fault.h"

namespace berth::converter {
namespace {

constexpr size_t kFirstSlots = 1024;

uint64_t mix(uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64U);
}

}  // namespace

NameTable::NameTable() : slots_(kFirstSlots, kFree) {
    // Nobody can choose names that all fall into one place. The order in the table shows nowhere.
    if (getrandom(&seed_, sizeof seed_, GRND_NONBLOCK) != sizeof seed_) seed_ = 0x9E3779B97F4A7C15;
}

Name NameTable::keep(std::string_view text) {
    if (bytes_.size() + text.size() > UINT32_MAX) fail(Kind::kLimit, "the image's file names are too many");
    const Name name{static_cast<uint32_t>(bytes_.size()), static_cast<uint8_t>(text.size())};
    bytes_ += text;
    return name;
}

uint64_t NameTable::hash(uint32_t parent, std::string_view name) const {
    constexpr uint64_t kOdd = 0xA0761D6478BD642F;
    uint64_t state = mix(seed_ ^ parent, kOdd ^ name.size());
    while (!name.empty()) {
        uint64_t word = 0;
        const size_t count = name.size() < sizeof word ? name.size() : sizeof word;
        memcpy(&word, name.data(), count);
        name.remove_prefix(count);
        state = mix(state ^ word, seed_ | 1U);
    }
    return mix(state, kOdd);
}

}  // namespace berth::converter

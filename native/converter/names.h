#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::converter {

/// Where a name's bytes are in a NameTable.
struct Name {
    uint32_t start = 0;
    uint8_t size = 0;
};

/// The bytes of all names, and which node has which name in which directory. Entries are four bytes, because
/// there may be millions.
class NameTable {
  public:
    NameTable();

    /// Keeps the bytes for good. Throws kLimit at 4 GiB.
    Name keep(std::string_view text);
    std::string_view view(Name name) const { return {bytes_.data() + name.start, name.size}; }

    /// `parent_of(node)` and `name_of(node)` say what a node in the table is called.
    template <typename ParentOf, typename NameOf>
    uint32_t find(uint32_t parent, std::string_view name, ParentOf parent_of, NameOf name_of) const {
        for (size_t at = hash(parent, name) & mask();; at = (at + 1) & mask()) {
            const uint32_t node = slots_[at];
            if (node == kFree) return kFree;
            if (node != kGone && parent_of(node) == parent && view(name_of(node)) == name) return node;
        }
    }

    template <typename ParentOf, typename NameOf>
    void add(uint32_t node, ParentOf parent_of, NameOf name_of) {
        if ((used_ + 1) * 4 > slots_.size() * 3) rebuild(parent_of, name_of);
        size_t at = hash(parent_of(node), view(name_of(node))) & mask();
        while (slots_[at] != kFree) at = (at + 1) & mask();
        slots_[at] = node;
        ++used_;
        ++live_;
    }

    void remove(uint32_t node, uint32_t parent, std::string_view name) {
        size_t at = hash(parent, name) & mask();
        while (slots_[at] != node) at = (at + 1) & mask();
        slots_[at] = kGone;
        --live_;
    }

  private:
    static constexpr uint32_t kFree = 0xFFFFFFFF;
    static constexpr uint32_t kGone = 0xFFFFFFFE;

    size_t mask() const { return slots_.size() - 1; }
    uint64_t hash(uint32_t parent, std::string_view name) const;

    template <typename ParentOf, typename NameOf>
    void rebuild(ParentOf parent_of, NameOf name_of) {
        const size_t size = live_ * 2 > slots_.size() / 2 ? slots_.size() * 2 : slots_.size();
        std::vector<uint32_t> old(size, kFree);
        old.swap(slots_);
        used_ = live_ = 0;
        for (const uint32_t node : old) {
            if (node != kFree && node != kGone) add(node, parent_of, name_of);
        }
    }

    std::string bytes_;
    std::vector<uint32_t> slots_;
    /// Slots that are not free, and of those the ones with a node.
    size_t used_ = 0;
    size_t live_ = 0;
    uint64_t seed_ = 0;
};

}  // namespace berth::converter

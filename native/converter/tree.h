#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "layer.h"
#include "names.h"

namespace berth::converter {

/// What names lead to. Hard links are names that share one.
struct Inode {
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint32_t mtime = 0;
    /// Index of a set in Tree::xattrs(), or kNone.
    uint32_t xattrs = kNone;
    /// Of a file: its content in `layer`. Of a symbolic link: where what it says is in Tree::target().
    uint32_t content = kNone;
    /// With the type, as in stat(2).
    uint16_t mode = 0;
    /// The layer it came with.
    uint16_t layer = 0;
};

/// A name in a directory. Nodes are in lists of siblings, in no order.
struct Node {
    uint32_t parent = kNone;
    uint32_t first_child = kNone;
    uint32_t next = kNone;
    uint32_t previous = kNone;
    uint32_t inode = kNone;
    Name name;
    /// The last layer that had this path, or something below it.
    uint16_t layer = 0;
};

/// The file tree of an image while its layers are put on top of each other, in memory. As `umoci unpack` does
/// it, but that implied directories are dated 1970. Throws kArchive for a layer that cannot be applied.
class Tree {
  public:
    static constexpr uint32_t kRoot = 0;

    Tree();

    /// Puts the next layer on top.
    void apply(const Layer& layer);

    const Node& node(uint32_t id) const { return nodes_[id]; }
    const Inode& inode(uint32_t id) const { return inodes_[id]; }
    size_t inode_count() const { return inodes_.size(); }
    size_t layer_count() const { return layer_count_; }
    std::string_view name(uint32_t node) const { return names_.view(nodes_[node].name); }
    const char* target(const Inode& inode) const { return targets_.data() + inode.content; }
    /// Each as encode() has it.
    const std::vector<std::string>& xattrs() const { return xattrs_; }

  private:
    /// Where a path leads: the deepest directory of it that exists, and the names that do not.
    struct Place {
        uint32_t node = kRoot;
        std::vector<std::string> missing;
    };

    void apply_entry(const Entry& entry, const Layer& layer);
    void white_out(const Entry& entry);
    void remove_lower(uint32_t top, bool keep_top);
    void put(const Entry& entry, const Layer& layer);
    void put_root(const Entry& entry, const Layer& layer);
    uint32_t make_directories(const Place& place, const Entry& entry);
    uint32_t inode_for(const Entry& entry, const Layer& layer);
    uint32_t link_target(const Entry& entry);
    void set_metadata(Inode& inode, const Entry& entry, const Layer& layer);
    uint32_t xattr_set(uint32_t index, const Layer& layer);

    Place resolve(std::string_view directory, const Entry& entry) const;
    uint32_t find(uint32_t parent, std::string_view name) const;
    uint32_t add(uint32_t parent, std::string_view name, uint32_t inode);
    void remove(uint32_t top);
    void unlink(uint32_t node);
    void touch(uint32_t node);
    bool is(uint32_t node, uint32_t type) const;

    std::vector<Node> nodes_;
    std::vector<uint32_t> free_nodes_;
    std::vector<Inode> inodes_;
    NameTable names_;
    std::string targets_;
    std::vector<std::string> xattrs_;
    std::unordered_map<std::string, uint32_t> xattr_ids_;
    /// Of the layer that is being applied: its sets' indices in xattrs_.
    std::vector<uint32_t> layer_xattrs_;
    uint16_t layer_ = 0;
    size_t layer_count_ = 0;
};

}  // namespace berth::converter

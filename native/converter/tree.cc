#include "tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "fault.h"

namespace berth::converter {
namespace {

// As many as umoci follows.
constexpr int kMostHops = 255;
// Bytes of a path with its links replaced.
constexpr size_t kMostFollowed = 64 << 10U;
constexpr uint16_t kDefaultDirectory = S_IFDIR | 0755;

std::pair<std::string_view, std::string_view> split(std::string_view path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return {"", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
}

[[noreturn]] void fail_entry(const Entry& entry, const std::string& why) {
    fail(Kind::kArchive, "entry " + quoted(entry.path) + " of the archive: " + why);
}

uint16_t type_bits(Type type) {
    switch (type) {
        case Type::kDirectory:
            return S_IFDIR;
        case Type::kSymlink:
            return S_IFLNK;
        case Type::kFifo:
            return S_IFIFO;
        case Type::kDevice:
            return S_IFCHR;
        default:
            return S_IFREG;
    }
}

}  // namespace

Tree::Tree() {
    inodes_.emplace_back().mode = kDefaultDirectory;
    nodes_.emplace_back().inode = 0;
    nodes_[kRoot].parent = kRoot;
}

bool Tree::is(uint32_t node, uint32_t type) const {
    return (inodes_[nodes_[node].inode].mode & S_IFMT) == type;
}

uint32_t Tree::find(uint32_t parent, std::string_view name) const {
    return names_.find(
        parent, name, [this](uint32_t id) { return nodes_[id].parent; },
        [this](uint32_t id) { return nodes_[id].name; });
}

uint32_t Tree::add(uint32_t parent, std::string_view name, uint32_t inode) {
    uint32_t id = static_cast<uint32_t>(nodes_.size());
    if (free_nodes_.empty()) {
        nodes_.emplace_back();
    } else {
        id = free_nodes_.back();
        free_nodes_.pop_back();
    }
    Node& node = nodes_[id];
    node = Node{};
    node.parent = parent;
    node.inode = inode;
    node.name = names_.keep(name);
    node.next = nodes_[parent].first_child;
    if (node.next != kNone) nodes_[node.next].previous = id;
    nodes_[parent].first_child = id;
    // Not this layer's until touch() says so.
    node.layer = static_cast<uint16_t>(layer_ - 1);
    names_.add(
        id, [this](uint32_t other) { return nodes_[other].parent; },
        [this](uint32_t other) { return nodes_[other].name; });
    return id;
}

void Tree::unlink(uint32_t id) {
    const Node& node = nodes_[id];
    names_.remove(id, node.parent, name(id));
    if (node.previous != kNone)
        nodes_[node.previous].next = node.next;
    else
        nodes_[node.parent].first_child = node.next;
    if (node.next != kNone) nodes_[node.next].previous = node.previous;
    free_nodes_.push_back(id);
}

/// Removes a name and everything below it. Deep trees must not need a deep stack.
void Tree::remove(uint32_t top) {
    uint32_t at = top;
    for (;;) {
        while (nodes_[at].first_child != kNone) at = nodes_[at].first_child;
        const uint32_t parent = nodes_[at].parent;
        unlink(at);
        if (at == top) return;
        at = parent;
    }
}

/// Says that this layer has the path, and so everything above it.
void Tree::touch(uint32_t id) {
    for (; id != kRoot && nodes_[id].layer != layer_; id = nodes_[id].parent) nodes_[id].layer = layer_;
}

/// Follows symbolic links inside of the root, as if it were "/". Names below what does not exist, or is no
/// directory, are missing.
Tree::Place Tree::resolve(std::string_view directory, const Entry& entry) const {
    Place place;
    std::string path(directory);
    int hops = 0;
    for (size_t start = 0; start <= path.size();) {
        const size_t end = std::min(path.find('/', start), path.size());
        const std::string part = path.substr(start, end - start);
        start = end + 1;
        if (part.empty() || part == ".") continue;
        if (part == "..") {
            if (!place.missing.empty())
                place.missing.pop_back();
            else
                place.node = nodes_[place.node].parent;
            continue;
        }
        const uint32_t child = place.missing.empty() ? find(place.node, part) : kNone;
        if (child == kNone) {
            place.missing.push_back(part);
        } else if (is(child, S_IFLNK)) {
            if (++hops > kMostHops) fail_entry(entry, "too many symbolic links on the way to it");
            std::string to = target(inodes_[nodes_[child].inode]);
            if (to[0] == '/') place.node = kRoot;
            if (start <= path.size()) to.append("/").append(path, start);
            path = std::move(to);
            if (path.size() > kMostFollowed) fail_entry(entry, "too long a way to it through symbolic links");
            start = 0;
        } else {
            place.node = child;
        }
    }
    return place;
}

uint32_t Tree::make_directories(const Place& place, const Entry& entry) {
    uint32_t at = place.node;
    if (!is(at, S_IFDIR)) fail_entry(entry, "what should be its directory is none");
    for (const std::string& missing : place.missing) {
        if (missing.size() > kMostName)
            fail_entry(entry, "a symbolic link on the way to it has too long a name");
        inodes_.emplace_back().mode = kDefaultDirectory;
        at = add(at, missing, static_cast<uint32_t>(inodes_.size() - 1));
    }
    return at;
}

void Tree::apply(const Layer& layer) {
    layer_ = static_cast<uint16_t>(++layer_count_);
    layer_xattrs_.assign(layer.xattrs.size(), kNone);
    EntryReader entries(layer.entries);
    Entry entry;
    while (entries.next(entry)) apply_entry(entry, layer);
}

void Tree::apply_entry(const Entry& entry, const Layer& layer) {
    if (entry.type == Type::kWhiteout || entry.type == Type::kOpaque)
        white_out(entry);
    else if (entry.path.empty())
        put_root(entry, layer);
    else
        put(entry, layer);
}

void Tree::white_out(const Entry& entry) {
    const bool opaque = entry.type == Type::kOpaque;
    const auto [directory, gone] = split(entry.path);
    const Place place = resolve(opaque ? std::string_view(entry.path) : directory, entry);
    if (!place.missing.empty()) return;
    const uint32_t top = opaque ? place.node : find(place.node, gone);
    if (top != kNone) remove_lower(top, opaque);
}

/// Removes what is not this layer's at and below a node, whichever came first in the archive.
void Tree::remove_lower(uint32_t top, bool keep_top) {
    if (!keep_top && nodes_[top].layer != layer_) {
        remove(top);
        return;
    }
    std::vector<uint32_t> open{top};
    while (!open.empty()) {
        uint32_t child = nodes_[open.back()].first_child;
        open.pop_back();
        while (child != kNone) {
            const uint32_t next = nodes_[child].next;
            if (nodes_[child].layer == layer_)
                open.push_back(child);
            else
                remove(child);
            child = next;
        }
    }
}

void Tree::put_root(const Entry& entry, const Layer& layer) {
    if (entry.type != Type::kDirectory) fail_entry(entry, "the root can only be a directory");
    set_metadata(inodes_[nodes_[kRoot].inode], entry, layer);
}

void Tree::put(const Entry& entry, const Layer& layer) {
    const auto [directory, name] = split(entry.path);
    const Place place = resolve(directory, entry);
    uint32_t id = place.missing.empty() ? find(place.node, name) : kNone;
    const uint32_t parent = make_directories(place, entry);
    if (id != kNone && !(entry.type == Type::kDirectory && is(id, S_IFDIR))) {
        remove(id);
        id = kNone;
    }
    if (id != kNone)
        set_metadata(inodes_[nodes_[id].inode], entry, layer);
    else
        id = add(parent, name, inode_for(entry, layer));
    touch(id);
}

uint32_t Tree::inode_for(const Entry& entry, const Layer& layer) {
    if (entry.type == Type::kHardLink) return link_target(entry);
    const auto id = static_cast<uint32_t>(inodes_.size());
    Inode& inode = inodes_.emplace_back();
    set_metadata(inode, entry, layer);
    if (entry.type == Type::kFile) {
        if (entry.content != kNone && entry.content >= layer.contents.size())
            fail(Kind::kLayer, "the layer file has an entry without content");
        inode.content = entry.content;
    } else if (entry.type == Type::kSymlink) {
        if (targets_.size() + entry.target.size() >= UINT32_MAX)
            fail(Kind::kLimit, "the image's symbolic links are too many");
        inode.content = static_cast<uint32_t>(targets_.size());
        targets_.append(entry.target.c_str(), entry.target.size() + 1);
    }
    return id;
}

uint32_t Tree::link_target(const Entry& entry) {
    const auto [directory, name] = split(entry.target);
    const Place place = resolve(directory, entry);
    const uint32_t found = place.missing.empty() && !name.empty() ? find(place.node, name) : kNone;
    if (entry.target.empty() || (found != kNone && is(found, S_IFDIR)))
        fail_entry(entry, "it is a hard link to " + quoted("/" + entry.target) + ", which is a directory");
    if (found == kNone)
        fail_entry(entry, "it is a hard link to " + quoted(entry.target) + ", which does not exist");
    return nodes_[found].inode;
}

void Tree::set_metadata(Inode& inode, const Entry& entry, const Layer& layer) {
    inode.uid = entry.uid;
    inode.gid = entry.gid;
    inode.mtime = entry.mtime;
    inode.mode = static_cast<uint16_t>(type_bits(entry.type) | entry.mode);
    // As the kernel has it.
    if (entry.type == Type::kSymlink) inode.mode = S_IFLNK | 0777;
    inode.layer = static_cast<uint16_t>(layer_ - 1);
    inode.xattrs = entry.xattrs == kNone ? kNone : xattr_set(entry.xattrs, layer);
}

uint32_t Tree::xattr_set(uint32_t index, const Layer& layer) {
    if (index >= layer.xattrs.size())
        fail(Kind::kLayer, "the layer file has an entry without its extended attributes");
    uint32_t& known = layer_xattrs_[index];
    if (known != kNone) return known;
    const auto [at, added] = xattr_ids_.emplace(layer.xattrs[index], static_cast<uint32_t>(xattrs_.size()));
    if (added) xattrs_.push_back(layer.xattrs[index]);
    return known = at->second;
}

}  // namespace berth::converter

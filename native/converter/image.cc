#include "image.h"

#include <sqfs/block.h>
#include <sqfs/dir_writer.h>
#include <sqfs/error.h>
#include <sqfs/frag_table.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/meta_writer.h>
#include <sqfs/super.h>
#include <sqfs/xattr_writer.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "contents.h"
#include "fault.h"

namespace berth::converter {
namespace {

template <typename Object>
SqfsPointer<Object> own(Object* object) {
    if (object == nullptr) throw std::bad_alloc();
    return SqfsPointer<Object>(object);
}

/// What an inode becomes in the image.
struct Placed {
    /// 0 until it has one.
    uint32_t number = 0;
    uint32_t names = 0;
    /// As directory entries refer to it; kNowhere until it is written.
    uint64_t reference = UINT64_MAX;
};

class ImageWriter {
  public:
    ImageWriter(Output& output, const Tree& tree, const std::vector<Part>& parts, uint32_t block_size,
                int level)
        : output_(output),
          tree_(tree),
          parts_(parts),
          block_size_(block_size),
          compressor_(make_compressor(block_size, level)),
          inodes_(own(sqfs_meta_writer_create(&output, compressor_.get(), 0))),
          directories_(
              own(sqfs_meta_writer_create(&output, compressor_.get(), SQFS_META_WRITER_KEEP_IN_MEMORY))),
          entries_(own(sqfs_dir_writer_create(directories_.get(), 0))),
          ids_(own(sqfs_id_table_create(0))),
          xattrs_(own(sqfs_xattr_writer_create(0))),
          placed_(tree.inode_count()) {}

    ImageCounts write() {
        number_inodes();
        add_xattrs();
        sqfs_super_t super;
        check(sqfs_super_init(&super, block_size_, 0, SQFS_COMP_ZSTD), "writing the superblock");
        super.inode_count = count_;
        super.inode_table_start = output_.size();
        super.root_inode_ref = write_tree();
        check(sqfs_meta_writer_flush(inodes_.get()), "writing inodes");
        check(sqfs_meta_writer_flush(directories_.get()), "writing directories");
        super.directory_table_start = output_.size();
        check(sqfs_meta_write_write_to_file(directories_.get()), "writing directories");
        write_fragments(super);
        check(sqfs_id_table_write(ids_.get(), &output_, &super, compressor_.get()), "writing owners");
        check(sqfs_xattr_writer_flush(xattrs_.get(), &output_, &super, compressor_.get()),
              "writing extended attributes");
        super.bytes_used = output_.size();
        pad();
        check(sqfs_super_write(&super, &output_), "writing the superblock");
        return counts_;
    }

  private:
    void check(int code, const char* doing) const { output_.check(code, doing); }

    /// A loop device has whole sectors, and mount(8) wants whole pages.
    void pad() {
        constexpr uint64_t kPage = 4096;
        const std::vector<char> zeros((kPage - output_.size() % kPage) % kPage);
        output_.append(zeros.data(), zeros.size());
    }

    bool is_dropped(uint32_t node) const { return S_ISCHR(tree_.inode(tree_.node(node).inode).mode); }

    /// The node's children that the image has, by name.
    void list(uint32_t node, std::vector<uint32_t>& children) const {
        children.clear();
        for (uint32_t child = tree_.node(node).first_child; child != kNone; child = tree_.node(child).next) {
            if (!is_dropped(child)) children.push_back(child);
        }
        std::sort(children.begin(), children.end(),
                  [this](uint32_t a, uint32_t b) { return tree_.name(a) < tree_.name(b); });
    }

    /// Counts names, and numbers inodes directory by directory: entries of a directory refer to inodes by the
    /// difference of their numbers, in 16 bits.
    void number_inodes() {
        placed_[tree_.node(Tree::kRoot).inode].number = ++count_;
        counts_.entries = 1;
        std::vector<uint32_t> children;
        std::vector<uint32_t> open{Tree::kRoot};
        while (!open.empty()) {
            const uint32_t directory = open.back();
            open.pop_back();
            count_devices(directory);
            list(directory, children);
            for (const uint32_t child : children) {
                const Node& node = tree_.node(child);
                Placed& placed = placed_[node.inode];
                if (placed.number == 0) placed.number = ++count_;
                ++placed.names;
                ++counts_.entries;
                if (S_ISDIR(tree_.inode(node.inode).mode)) open.push_back(child);
            }
        }
    }

    void count_devices(uint32_t directory) {
        for (uint32_t child = tree_.node(directory).first_child; child != kNone;
             child = tree_.node(child).next)
            counts_.device_nodes += is_dropped(child) ? 1 : 0;
    }

    void add_xattrs() {
        for (const std::string& set : tree_.xattrs()) {
            check(sqfs_xattr_writer_begin(xattrs_.get(), 0), "writing extended attributes");
            for (const Xattr& xattr : decode(set)) {
                const int code = sqfs_xattr_writer_add(xattrs_.get(), xattr.name.c_str(), xattr.value.data(),
                                                       xattr.value.size());
                if (code == SQFS_ERROR_UNSUPPORTED)
                    fail(Kind::kLayer, "the layer file has damaged extended attributes");
                check(code, "writing extended attributes");
            }
            uint32_t index = kNone;
            check(sqfs_xattr_writer_end(xattrs_.get(), &index), "writing extended attributes");
            xattr_indices_.push_back(index);
        }
    }

    void move_to_end(std::vector<uint32_t>& nodes, std::initializer_list<std::string_view> names) const {
        for (const std::string_view name : names)
            std::stable_partition(nodes.begin(), nodes.end(),
                                  [&](uint32_t node) { return tree_.name(node) != name; });
    }

    /// Directories after what is in them, and last of all the root, /etc and what lies beside it: every
    /// launch looks at these first. With the root's inode, which mounting reads, they are in one or two
    /// metadata blocks of 8 KiB (squashfs 4.0), and each block more costs a launch a tenth of a millisecond
    /// or two. Returns the reference to the root.
    uint64_t write_tree() {
        std::vector<uint32_t> first = directories_in(Tree::kRoot);
        move_to_end(first, {"var", "etc"});
        for (const uint32_t directory : first) {
            for (const uint32_t below : directories_in(directory)) write_subtree(below);
        }
        std::vector<uint32_t> children;
        for (const uint32_t directory : first) write_directory(directory, children);
        write_directory(Tree::kRoot, children);
        return placed_[tree_.node(Tree::kRoot).inode].reference;
    }

    std::vector<uint32_t> directories_in(uint32_t node) const {
        std::vector<uint32_t> found;
        list(node, found);
        found.erase(std::remove_if(found.begin(), found.end(),
                                   [this](uint32_t child) {
                                       return !S_ISDIR(tree_.inode(tree_.node(child).inode).mode);
                                   }),
                    found.end());
        return found;
    }

    /// Without recursion.
    void write_subtree(uint32_t top) {
        struct Open {
            uint32_t node;
            bool entered;
        };
        std::vector<Open> open{{top, false}};
        std::vector<uint32_t> children;
        while (!open.empty()) {
            if (open.back().entered) {
                write_directory(open.back().node, children);
                open.pop_back();
                continue;
            }
            open.back().entered = true;
            const std::vector<uint32_t> below = directories_in(open.back().node);
            for (auto child = below.rbegin(); child != below.rend(); ++child) open.push_back({*child, false});
        }
    }

    void write_directory(uint32_t id, std::vector<uint32_t>& children) {
        const Node& node = tree_.node(id);
        const Inode& inode = tree_.inode(node.inode);
        list(id, children);
        write_plain_children(id, children);
        check(sqfs_dir_writer_begin(entries_.get(), 0), "writing a directory");
        uint32_t links = 2;
        for (const uint32_t child : children) {
            const Inode& entry = tree_.inode(tree_.node(child).inode);
            const Placed& placed = placed_[tree_.node(child).inode];
            if (S_ISDIR(entry.mode)) ++links;
            const std::string name(tree_.name(child));
            check(sqfs_dir_writer_add_entry(entries_.get(), name.c_str(), placed.number, placed.reference,
                                            entry.mode),
                  "writing a directory");
        }
        check(sqfs_dir_writer_end(entries_.get()), "writing a directory");
        sqfs_inode_generic_t* made =
            sqfs_dir_writer_create_inode(entries_.get(), 0, xattr_index(inode), parent_number(id));
        if (made == nullptr) throw std::bad_alloc();
        // libsquashfs counts entries; other tools, and find(1), count directories.
        if (made->base.type == SQFS_INODE_DIR)
            made->data.dir.nlink = links;
        else
            made->data.dir_ext.nlink = links;
        Placed& placed = placed_[node.inode];
        fill(*made, inode, placed);
        const int code = write_inode(*made, placed);
        sqfs_free(made);
        check(code, "writing a directory");
    }

    /// The inodes of what is in a directory, without those of its directories.
    void write_plain_children(uint32_t id, const std::vector<uint32_t>& children) {
        std::vector<uint32_t> order(children);
        if (tree_.node(id).parent == Tree::kRoot && tree_.name(id) == "etc")
            move_to_end(order, {"ld.so.cache", "nsswitch.conf", "group", "passwd"});
        for (const uint32_t child : order) {
            const Inode& entry = tree_.inode(tree_.node(child).inode);
            Placed& placed = placed_[tree_.node(child).inode];
            if (!S_ISDIR(entry.mode) && placed.reference == UINT64_MAX) write_plain(entry, placed);
        }
    }

    uint32_t parent_number(uint32_t id) const {
        // squashfs' way to say that the root has no parent.
        if (id == Tree::kRoot) return count_ + 1;
        return placed_[tree_.node(tree_.node(id).parent).inode].number;
    }

    uint32_t xattr_index(const Inode& inode) const {
        return inode.xattrs == kNone ? kNone : xattr_indices_[inode.xattrs];
    }

    void fill(sqfs_inode_generic_t& made, const Inode& inode, const Placed& placed) {
        made.base.mode = inode.mode;
        made.base.mod_time = inode.mtime;
        made.base.inode_number = placed.number;
        made.base.uid_idx = id_index(inode.uid);
        made.base.gid_idx = id_index(inode.gid);
    }

    uint16_t id_index(uint32_t id) {
        const auto known = id_indices_.find(id);
        if (known != id_indices_.end()) return known->second;
        if (id_indices_.size() >= kMostIds)
            fail(Kind::kLimit,
                 "the image's files belong to more than 65535 users and groups, which squashfs cannot store");
        uint16_t index = 0;
        check(sqfs_id_table_id_to_index(ids_.get(), id, &index), "writing owners");
        id_indices_.emplace(id, index);
        return index;
    }

    int write_inode(const sqfs_inode_generic_t& made, Placed& placed) {
        placed.reference = position();
        return sqfs_meta_writer_write_inode(inodes_.get(), &made);
    }

    /// Where the next inode will be, as references to it say.
    uint64_t position() const {
        uint64_t block = 0;
        uint32_t offset = 0;
        sqfs_meta_writer_get_position(inodes_.get(), &block, &offset);
        return block << 16U | offset;
    }

    /// Anything but a directory.
    void write_plain(const Inode& inode, Placed& placed) {
        const char* target = S_ISLNK(inode.mode) ? tree_.target(inode) : nullptr;
        const size_t extra = target != nullptr ? strlen(target) : 0;
        buffer_.assign((sizeof(sqfs_inode_generic_t) + extra + sizeof(uint64_t)) / sizeof(uint64_t), 0);
        auto& made = *reinterpret_cast<sqfs_inode_generic_t*>(buffer_.data());
        made.payload_bytes_used = made.payload_bytes_available = static_cast<uint32_t>(extra);
        fill(made, inode, placed);
        if (S_ISREG(inode.mode)) {
            write_file(made, inode, placed);
            return;
        }
        if (target != nullptr) {
            made.base.type = SQFS_INODE_EXT_SLINK;
            made.data.slink_ext = {placed.names, static_cast<uint32_t>(extra), xattr_index(inode)};
            memcpy(made.extra, target, extra);
        } else {
            made.base.type = SQFS_INODE_EXT_FIFO;
            made.data.ipc_ext = {placed.names, xattr_index(inode)};
        }
        make_short(made);
        check(write_inode(made, placed), "writing an inode");
    }

    /// Gives an inode its short form, where that holds all of it.
    void make_short(sqfs_inode_generic_t& made) const {
        check(sqfs_inode_make_basic(&made), "writing an inode");
    }

    /// By hand, because libsquashfs puts a file's list of blocks on the stack, where those of a large sparse
    /// file have no room.
    void write_file(sqfs_inode_generic_t& made, const Inode& inode, Placed& placed) {
        static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "inodes are written as they are in memory");
        made.base.type = SQFS_INODE_EXT_FILE;
        sqfs_inode_file_ext_t& file = made.data.file_ext;
        file.nlink = placed.names;
        file.xattr_idx = xattr_index(inode);
        file.fragment_idx = file.fragment_offset = kNone;
        const Part* part = inode.content == kNone ? nullptr : &parts_[inode.layer];
        const Content* content = part == nullptr ? nullptr : &part->layer->contents[inode.content];
        const uint64_t count = content == nullptr ? 0 : part->layer->block_count(*content);
        if (content != nullptr) fill_file(file, *part, *content);
        make_short(made);

        placed.reference = position();
        // The type says what it is.
        made.base.mode &= 07777U;
        append(&made.base, sizeof made.base);
        if (made.base.type == SQFS_INODE_EXT_FILE)
            append(&file, sizeof file);
        else
            append(&made.data.file, sizeof made.data.file);
        if (count > 0) append(part->layer->blocks.data() + content->first_block, count * sizeof(uint32_t));
    }

    void append(const void* bytes, size_t count) {
        check(sqfs_meta_writer_append(inodes_.get(), bytes, count), "writing an inode");
    }

    void fill_file(sqfs_inode_file_ext_t& file, const Part& part, const Content& content) {
        file.file_size = content.size;
        counts_.bytes += content.size;
        if (content.fragment != kNone) {
            file.fragment_idx = part.fragments[content.fragment];
            file.fragment_offset = content.offset;
            return;
        }
        bool stored = false;
        for (uint64_t i = 0; i < part.layer->block_count(content); ++i) {
            if (part.layer->blocks[content.first_block + i] != 0)
                stored = true;
            else
                file.sparse += std::min<uint64_t>(block_size_, content.size - i * block_size_);
        }
        if (stored) file.blocks_start = part.moved(content.start);
    }

    void write_fragments(sqfs_super_t& super) {
        const auto table = own(sqfs_frag_table_create(0));
        for (const Part& part : parts_) {
            for (size_t i = 0; i < part.fragments.size(); ++i) {
                if (part.fragments[i] == kNone) continue;
                const Fragment& fragment = part.layer->fragments[i];
                uint32_t index = 0;
                check(sqfs_frag_table_append(table.get(), part.moved(fragment.start), fragment.size, &index),
                      "writing fragments");
            }
        }
        check(sqfs_frag_table_write(table.get(), &output_, &super, compressor_.get()), "writing fragments");
    }

    // The superblock counts them with 16 bits.
    static constexpr size_t kMostIds = 65535;

    Output& output_;
    const Tree& tree_;
    const std::vector<Part>& parts_;
    uint32_t block_size_;
    SqfsPointer<sqfs_compressor_t> compressor_;
    SqfsPointer<sqfs_meta_writer_t> inodes_;
    SqfsPointer<sqfs_meta_writer_t> directories_;
    SqfsPointer<sqfs_dir_writer_t> entries_;
    SqfsPointer<sqfs_id_table_t> ids_;
    SqfsPointer<sqfs_xattr_writer_t> xattrs_;
    std::vector<Placed> placed_;
    std::vector<uint32_t> xattr_indices_;
    std::unordered_map<uint32_t, uint16_t> id_indices_;
    std::vector<uint64_t> buffer_;
    uint32_t count_ = 0;
    ImageCounts counts_;
};

}  // namespace

ImageCounts write_image(Output& output, const Tree& tree, const std::vector<Part>& parts, uint32_t block_size,
                        int level) {
    return ImageWriter(output, tree, parts, block_size, level).write();
}

}  // namespace berth::converter

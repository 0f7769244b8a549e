#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "fault.h"
#include "image.h"

#include <sys/stat.h>

namespace berth::converter {
namespace {

constexpr size_t kCopySize = size_t{1} << 20U;

/// Which contents of each layer the tree's files have. Inodes whose names are all gone may be in the tree
/// still, so this goes by names.
std::vector<std::vector<bool>> used_contents(const Tree& tree, const std::vector<const Layer*>& layers) {
    std::vector<std::vector<bool>> used;
    used.reserve(layers.size());
    for (const Layer* layer : layers) used.emplace_back(layer->contents.size());
    std::vector<uint32_t> open{Tree::kRoot};
    while (!open.empty()) {
        const uint32_t id = open.back();
        open.pop_back();
        const Inode& inode = tree.inode(tree.node(id).inode);
        if (S_ISREG(inode.mode) && inode.content != kNone) used[inode.layer][inode.content] = true;
        for (uint32_t child = tree.node(id).first_child; child != kNone; child = tree.node(child).next)
            open.push_back(child);
    }
    return used;
}

uint64_t bytes_on_disk(const Layer& layer, const Content& content) {
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < layer.block_count(content); ++i)
        bytes += layer.blocks[content.first_block + i] & ~kUncompressed;
    return bytes;
}

void use_fragments(Part& part, const std::vector<bool>& used, uint32_t& count) {
    const Layer& layer = *part.layer;
    part.fragments.assign(layer.fragments.size(), kNone);
    for (size_t i = 0; i < used.size(); ++i) {
        if (used[i] && layer.contents[i].fragment != kNone) part.fragments[layer.contents[i].fragment] = 0;
    }
    for (uint32_t& number : part.fragments) {
        if (number != kNone) number = count++;
    }
}

/// The runs of data in use, in order, neighbours put together.
void collect_runs(Part& part, const std::vector<bool>& used) {
    const Layer& layer = *part.layer;
    std::vector<Part::Run> runs;
    for (size_t i = 0; i < used.size(); ++i) {
        const uint64_t bytes = used[i] ? bytes_on_disk(layer, layer.contents[i]) : 0;
        if (bytes > 0) runs.push_back({layer.contents[i].start, 0, bytes});
    }
    for (size_t i = 0; i < part.fragments.size(); ++i) {
        if (part.fragments[i] != kNone)
            runs.push_back({layer.fragments[i].start, 0, layer.fragments[i].size & ~kUncompressed});
    }
    std::sort(runs.begin(), runs.end(),
              [](const Part::Run& a, const Part::Run& b) { return a.from < b.from; });
    for (const Part::Run& run : runs) {
        if (!part.runs.empty() && run.from <= part.runs.back().from + part.runs.back().size) {
            Part::Run& last = part.runs.back();
            last.size = std::max(last.size, run.from + run.size - last.from);
        } else {
            part.runs.push_back(run);
        }
    }
}

[[noreturn]] void fail_reading(int error) {
    fail(Kind::kLayer, std::string("reading a layer file: ") + strerror(error), error);
}

/// By reading and writing, where the kernel cannot copy between these files.
void copy_through_memory(int from, uint64_t start, uint64_t size, Output& output) {
    std::vector<char> buffer(std::min<uint64_t>(size, kCopySize));
    while (size > 0) {
        const ssize_t got =
            pread(from, buffer.data(), std::min<uint64_t>(size, buffer.size()), static_cast<off_t>(start));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail_reading(got < 0 ? errno : EIO);
        output.append(buffer.data(), static_cast<uint64_t>(got));
        start += static_cast<uint64_t>(got);
        size -= static_cast<uint64_t>(got);
    }
}

bool cannot_copy(int error) {
    return error == EXDEV || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL || error == EBADF ||
           error == EPERM;
}

// Bytes: so that the disk has something to do meanwhile.
constexpr uint64_t kCopiedAtOnce = uint64_t{32} << 20U;

void copy_run(int from, const Part::Run& run, Output& output) {
    auto in = static_cast<off_t>(run.from);
    uint64_t left = run.size;
    while (left > 0) {
        auto out = static_cast<off_t>(output.size());
        const size_t part = std::min(left, kCopiedAtOnce);
        const ssize_t copied = copy_file_range(from, &in, output.fd(), &out, part, 0);
        if (copied < 0 && errno == EINTR) continue;
        // Some file systems say 0 where they cannot copy; a file that is too short fails below.
        if (copied == 0 || (copied < 0 && cannot_copy(errno))) {
            copy_through_memory(from, static_cast<uint64_t>(in), left, output);
            return;
        }
        if (copied < 0) fail_storage("copy_file_range", errno);
        output.has_grown(static_cast<uint64_t>(out));
        left -= static_cast<uint64_t>(copied);
    }
}

}  // namespace

uint64_t Part::moved(uint64_t start) const {
    const auto after = std::upper_bound(runs.begin(), runs.end(), start,
                                        [](uint64_t at, const Run& run) { return at < run.from; });
    if (after == runs.begin()) fail(Kind::kInternal, "a data block was not copied");
    const Run& run = *(after - 1);
    return run.to + (start - run.from);
}

std::vector<Part> parts_in_place(const Layer& layer, const Tree& tree) {
    Part part;
    part.layer = &layer;
    part.runs.push_back({0, 0, layer.data_end});
    uint32_t fragments = 0;
    use_fragments(part, used_contents(tree, {&layer}).front(), fragments);
    return {std::move(part)};
}

std::vector<Part> copy_parts(const std::vector<Layer>& layers, const std::vector<int>& files,
                             const Tree& tree, Output& output) {
    std::vector<const Layer*> pointers;
    pointers.reserve(layers.size());
    for (const Layer& layer : layers) pointers.push_back(&layer);
    const auto used = used_contents(tree, pointers);
    output.rewind(kDataStart);
    uint32_t fragments = 0;
    std::vector<Part> parts(layers.size());
    for (size_t i = 0; i < layers.size(); ++i) {
        parts[i].layer = &layers[i];
        use_fragments(parts[i], used[i], fragments);
        collect_runs(parts[i], used[i]);
        for (Part::Run& run : parts[i].runs) {
            run.to = output.size();
            copy_run(files[i], run, output);
        }
    }
    return parts;
}

}  // namespace berth::converter

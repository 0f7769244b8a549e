// Damaged archives and damaged layer files, through the whole converter: whatever they are, it throws a Fault
// or makes an image.
//   converter-fuzz SEED ROUNDS

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "../../native/converter/convert.h"
#include "../../native/converter/image.h"
#include "../../native/converter/layer_file.h"
#include "../../native/sys/fd.h"

namespace {

using namespace berth;
using namespace berth::converter;

std::mt19937 random_bits;

uint32_t below(size_t most) {
    return most == 0 ? 0 : random_bits() % static_cast<uint32_t>(most);
}

Fd memory() {
    return Fd(memfd_create("fuzz", MFD_CLOEXEC));
}

/// A number that is small, near a limit, or anything.
uint32_t number() {
    const uint32_t chosen[] = {0,      1,         95,         96,         4096,      131072,
                               131073, 0x1000000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF};
    return below(4) == 0 ? random_bits() : chosen[below(std::size(chosen))];
}

struct Member {
    const char* name;
    char type;
    std::string content;
    const char* link;
};

std::string block_of(const Member& member) {
    char block[512] = {};
    std::snprintf(block, 100, "%s", member.name);
    std::snprintf(block + 100, 8, "%07o", 0644);
    std::snprintf(block + 108, 8, "%07o", below(3));
    std::snprintf(block + 116, 8, "%07o", below(3));
    std::snprintf(block + 124, 12, "%011o", static_cast<unsigned>(member.content.size()));
    std::snprintf(block + 136, 12, "%011o", 1000);
    block[156] = member.type;
    std::snprintf(block + 157, 100, "%s", member.link);
    memcpy(block + 257, "ustar  ", 8);
    if (member.type == 'S') {
        for (int i = 0; i < 4; ++i) {
            std::snprintf(block + 386 + i * 24, 12, "%011o", i * 9000 + below(3));
            std::snprintf(block + 386 + i * 24 + 12, 12, "%011o", i < 3 ? 500 : 12);
        }
        std::snprintf(block + 483, 12, "%011o", 300000);
    }
    return {block, sizeof block};
}

/// Sums up the header again, so that damage gets past it.
void sum_up(std::string& archive, size_t at) {
    memset(archive.data() + at + 148, ' ', 8);
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(archive[at + i]);
    std::snprintf(archive.data() + at + 148, 8, "%06o", sum);
}

std::string random_archive() {
    const std::string pax = "30 mtime=1350244992.023960108\n17 path=d/long/x\n28 SCHILY.xattr.user.a=xyzw\n";
    const std::string sparse =
        "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n30 GNU.sparse.realsize=200000\n";
    const std::string map = "2\n0\n100\n150000\n200\n" + std::string(512 - 19, '\0') + std::string(300, 's');
    const Member members[] = {{"d/", '5', "", ""},
                              {"d/f", '0', std::string(200000, 'f'), ""},
                              {"d/s", '0', "small", ""},
                              {"l", '2', "", "/d/../d"},
                              {"l/through", '0', "x", ""},
                              {"h", '1', "", "d/../l"},
                              {".wh.d", '0', "", ""},
                              {"d/.wh..wh..opq", '0', "", ""},
                              {"pax", 'x', pax, ""},
                              {"fifo", '6', "", ""},
                              {"null", '3', "", ""},
                              {"gnu", 'S', std::string(1512, 'g'), ""},
                              {"pax", 'x', sparse, ""},
                              {"sparse", '0', map, ""},
                              {"././@LongLink", 'L', "d/n/a/m/e", ""},
                              {"././@LongLink", 'K', "l", ""}};
    std::string archive;
    for (size_t count = 1 + below(12); count > 0; --count) {
        // What the others lead to comes first.
        const Member& member = members[archive.empty() ? 0 : below(std::size(members))];
        const size_t start = archive.size();
        archive += block_of(member);
        if (below(40) == 0) archive[start + below(512)] = static_cast<char>(random_bits());
        if (below(60) == 0) archive.replace(start + 124, 11, "77777777777");
        sum_up(archive, start);
        std::string content = member.content;
        if (!content.empty() && below(20) == 0) content[below(content.size())] = "0=\n -9,"[below(7)];
        archive += content;
        archive.resize((archive.size() + 511) / 512 * 512);
    }
    archive.resize(archive.size() + 1024);
    if (below(15) == 0) archive.resize(below(archive.size()));
    return archive;
}

void damage(Layer& layer) {
    const uint32_t kind = below(8);
    if (kind == 0 && !layer.contents.empty()) {
        Content& content = layer.contents[below(layer.contents.size())];
        uint32_t* fields[] = {&content.first_block, &content.fragment, &content.offset};
        *fields[below(3)] = number();
    } else if (kind == 1 && !layer.contents.empty()) {
        Content& content = layer.contents[below(layer.contents.size())];
        (below(2) == 0 ? content.start : content.size) = below(2) == 0 ? number() : uint64_t{number()} << 32U;
    } else if (kind == 2 && !layer.blocks.empty()) {
        layer.blocks[below(layer.blocks.size())] = number();
    } else if (kind == 3 && !layer.fragments.empty()) {
        Fragment& fragment = layer.fragments[below(layer.fragments.size())];
        if (below(2) == 0)
            fragment.size = number();
        else
            fragment.start = number();
    } else if (kind == 4 && !layer.xattrs.empty()) {
        std::string& set = layer.xattrs[below(layer.xattrs.size())];
        set[below(set.size())] = static_cast<char>(random_bits());
    } else if (kind == 5) {
        layer.data_end = number();
    } else if (!layer.entries.empty()) {
        for (uint32_t i = 1 + below(4); i > 0; --i)
            layer.entries[below(layer.entries.size())] = static_cast<char>(random_bits());
    }
}

/// Everything after an archive, with a layer file that is damaged under a good checksum.
void round(size_t& images) {
    Options options;
    options.level = 1;
    options.jobs = 1 + below(3);
    options.most_bytes = 1 << 20U;
    const Fd blob = memory();
    const std::string archive = random_archive();
    if (write(blob.get(), archive.data(), archive.size()) != static_cast<ssize_t>(archive.size())) abort();
    lseek(blob.get(), 0, SEEK_SET);

    const Fd file = memory();
    Output layer_output(file.get());
    Blob input(blob.get(), options);
    Layer made = convert(input, layer_output, options);
    input.finish();
    if (below(2) == 0) damage(made);
    write_layer(layer_output, made);
    layer_output.finish();
    if (below(4) == 0) {
        const char byte = static_cast<char>(random_bits());
        if (pwrite(file.get(), &byte, 1, below(layer_output.size())) != 1) abort();
    }

    std::vector<Layer> layers;
    std::vector<int> files;
    Tree tree;
    for (uint32_t i = 1 + below(2); i > 0; --i) {
        layers.push_back(read_layer(file.get()));
        files.push_back(file.get());
        tree.apply(layers.back());
    }
    const Fd image = memory();
    Output output(image.get());
    const std::vector<Part> parts = copy_parts(layers, files, tree, output);
    write_image(output, tree, parts, layers.front().block_size, 1);
    output.finish();
    ++images;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    random_bits.seed(static_cast<uint32_t>(strtoul(argv[1], nullptr, 10)));
    const size_t rounds = strtoul(argv[2], nullptr, 10);
    size_t images = 0;
    for (size_t i = 0; i < rounds; ++i) {
        try {
            round(images);
        } catch (const Fault& fault) {
            // It is a damaged input's fault, not this program's.
            if (fault.kind == Kind::kInternal) {
                std::printf("round %zu: %s\n", i, fault.why.c_str());
                return 1;
            }
        }
    }
    std::printf("%zu archives, %zu of them images\n", rounds, images);
    return 0;
}

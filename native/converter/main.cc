// berth-converter: makes squashfs images of tar archives without unpacking them. A layer is converted once,
// to a layer file of compressed data blocks with an index; an image is put together from layer files by
// copying blocks. See docs/adr/0008.
//
// The archive is on standard input, output and layers are inherited descriptors. It prints one line of JSON:
// what was made, or, with exit status 1, what went wrong. Exit status 2 is for a command line that is none.
// It takes no environment and opens no files.

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <new>

#include "convert.h"
#include "image.h"
#include "layer_file.h"
#include "options.h"

namespace berth::converter {
namespace {

constexpr int kArchive = 0;

// Tables are small, and read from memory once cached: a level of their own keeps assembling fast.
constexpr int kTableLevel = 9;

std::string field(const char* name, const std::string& text) {
    return json(name) + ":" + json(text);
}

std::string field(const char* name, uint64_t value) {
    return json(name) + ":" + std::to_string(value);
}

std::string fields(const Blob::Result& result) {
    return field("blobDigest", result.blob_digest) + "," + field("blobSize", result.blob_size) + "," +
           field("diffId", result.diff_id);
}

std::string fields(const ImageCounts& counts, const Output& output) {
    return field("entries", counts.entries) + "," + field("deviceNodes", counts.device_nodes) + "," +
           field("bytes", counts.bytes) + "," + field("size", output.size()) + "," +
           field("digest", digest_of(output.fd(), output.size()));
}

struct Converted {
    Layer layer;
    Blob::Result blob;
};

/// Reads the whole of standard input. Where the archive is damaged and is not the announced one either, the
/// latter is what the user should know.
Converted convert_input(Output& output, const Options& options) {
    Blob blob(kArchive, options);
    try {
        Converted converted{convert(blob, output, options), {}};
        converted.blob = blob.finish();
        return converted;
    } catch (const Fault& fault) {
        if (fault.kind == Kind::kArchive && !options.blob_digest.empty()) blob.finish();
        throw;
    }
}

std::string make_layer(Output& output, const Options& options) {
    const Converted converted = convert_input(output, options);
    const Layer& layer = converted.layer;
    write_layer(output, layer);
    output.finish();
    return field("entries", layer.entry_count) + "," + field("deviceNodes", layer.device_count) + "," +
           field("bytes", layer.bytes) + "," + field("size", output.size()) + "," + fields(converted.blob);
}

std::string make_image(Output& output, const Options& options) {
    const Converted converted = convert_input(output, options);
    const Layer& layer = converted.layer;
    if (layer.entry_count == 0) fail(Kind::kArchive, "the archive is empty");
    Tree tree;
    tree.apply(layer);
    const ImageCounts counts =
        write_image(output, tree, parts_in_place(layer, tree), layer.block_size, kTableLevel);
    output.finish();
    return fields(counts, output) + "," + fields(converted.blob);
}

std::string assemble(Output& output, const Options& options) {
    Tree tree;
    std::vector<Layer> layers;
    for (const int fd : options.layers) {
        Layer layer = read_layer(fd);
        if (!layers.empty() && layer.block_size != layers.front().block_size)
            fail(Kind::kLayer, "the layers were made with different block sizes");
        tree.apply(layer);
        layer.entries = {};
        layers.push_back(std::move(layer));
    }
    const std::vector<Part> parts = copy_parts(layers, options.layers, tree, output);
    const ImageCounts counts = write_image(output, tree, parts, layers.front().block_size, kTableLevel);
    output.finish();
    return fields(counts, output);
}

std::string run(Output& output, const Options& options) {
    switch (options.mode) {
        case Mode::kLayer:
            return make_layer(output, options);
        case Mode::kAssemble:
            return assemble(output, options);
        case Mode::kImage:
            break;
    }
    return make_image(output, options);
}

int report(const Fault& fault) {
    std::string line = field("error", std::string(name_of(fault.kind))) + "," + field("why", fault.why);
    if (fault.error_number != 0) line += "," + field("errno", static_cast<uint64_t>(fault.error_number));
    std::printf("{%s}\n", line.c_str());
    return 1;
}

int main(int argc, char** argv) {
    Options options;
    std::string fault;
    if (!parse(argc, argv, options, fault)) {
        std::fprintf(stderr, "berth-converter: %s\n%s", fault.c_str(), kUsage);
        return 2;
    }
    // A limit on the size of files is an error of the write that exceeds it.
    std::signal(SIGXFSZ, SIG_IGN);
    try {
        Output output(options.output);
        std::printf("{%s}\n", run(output, options).c_str());
    } catch (const Fault& caught) {
        return report(caught);
    } catch (const std::bad_alloc&) {
        return report({Kind::kLimit, "out of memory", ENOMEM});
    }
    return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace
}  // namespace berth::converter

int main(int argc, char** argv) {
    return berth::converter::main(argc, argv);
}

#include "decompress.h"

#include <archive.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fault.h"

namespace berth::converter {
namespace {

constexpr size_t kOutputSize = size_t{256} << 10U;
/// As many first bytes as tell all formats apart.
constexpr size_t kMagicSize = 6;

[[noreturn]] void fail_damaged(const std::string& why) {
    fail(Kind::kArchive, "the archive cannot be decompressed: " + why);
}

bool starts_with(std::string_view bytes, std::string_view magic) {
    return bytes.substr(0, magic.size()) == magic;
}

/// gzip by ISA-L, in half of zlib's time. libarchive does not look at gzip's checksums.
class Gunzip {
  public:
    Gunzip(const Input& input, const Sink& sink)
        : input_(input), sink_(sink), output_(kOutputSize), stream_(std::make_unique<inflate_state>()) {
        isal_inflate_init(stream_.get());
    }

    void run() {
        while (more()) {
            isal_inflate_reset(stream_.get());
            stream_->crc_flag = ISAL_GZIP;
            if (!member()) return;
            if (!more()) return;
            // Padding, as for tapes.
            if (*stream_->next_in == 0) break;
        }
        while (more()) {
            for (; stream_->avail_in > 0; --stream_->avail_in, ++stream_->next_in) {
                if (*stream_->next_in != 0) fail_damaged("something else follows its gzip data");
            }
        }
    }

  private:
    bool more() {
        if (stream_->avail_in > 0) return true;
        const std::string_view bytes = input_();
        // ISA-L does not write to it.
        stream_->next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(bytes.data()));
        stream_->avail_in = static_cast<uint32_t>(bytes.size());
        return !bytes.empty();
    }

    /// One of the parts that a gzip file may have. False where no more is wanted.
    bool member() {
        // Some output may be left in the stream's own memory.
        bool is_full = false;
        for (;;) {
            if (!is_full && !more()) fail_damaged("it is cut short");
            stream_->next_out = output_.data();
            stream_->avail_out = static_cast<uint32_t>(output_.size());
            const uint32_t available = stream_->avail_in;
            const int code = isal_inflate(stream_.get());
            if (code < 0 || code == ISAL_NEED_DICT) fail_damaged(in_words(code));
            const size_t size = output_.size() - stream_->avail_out;
            if (size > 0 && !sink_({reinterpret_cast<const char*>(output_.data()), size})) return false;
            if (stream_->block_state == ISAL_BLOCK_FINISH) return true;
            if (!is_full && size == 0 && stream_->avail_in == available) fail_damaged(in_words(code));
            is_full = stream_->avail_out == 0;
        }
    }

    static const char* in_words(int code) {
        switch (code) {
            case ISAL_INCORRECT_CHECKSUM:
                return "its checksum is another one";
            case ISAL_INVALID_WRAPPER:
            case ISAL_UNSUPPORTED_METHOD:
                return "its gzip header is damaged";
            default:
                return "its gzip data is damaged";
        }
    }

    const Input& input_;
    const Sink& sink_;
    std::vector<uint8_t> output_;
    std::unique_ptr<inflate_state> stream_;
};

/// The other formats, by libarchive.
class Filter {
  public:
    explicit Filter(const Input& input) : input_(input), archive_(archive_read_new(), archive_read_free) {
        if (!archive_) throw std::bad_alloc();
        archive_read_support_filter_zstd(archive_.get());
        archive_read_support_filter_xz(archive_.get());
        archive_read_support_filter_bzip2(archive_.get());
        archive_read_support_format_raw(archive_.get());
        archive_read_support_format_empty(archive_.get());
    }

    void run(const Sink& sink) {
        const auto on_read = [](archive*, void* data, const void** bytes) -> la_ssize_t {
            auto* self = static_cast<Filter*>(data);
            // Exceptions must not pass through libarchive.
            try {
                const std::string_view got = self->input_();
                *bytes = got.data();
                return static_cast<la_ssize_t>(got.size());
            } catch (const Fault& fault) {
                self->fault_ = fault;
                return -1;
            }
        };
        archive_entry* entry = nullptr;
        check(archive_read_open(archive_.get(), this, nullptr, on_read, nullptr));
        if (!check(archive_read_next_header(archive_.get(), &entry))) return;
        const void* bytes = nullptr;
        size_t size = 0;
        int64_t offset = 0;
        while (check(archive_read_data_block(archive_.get(), &bytes, &size, &offset))) {
            if (!sink({static_cast<const char*>(bytes), size})) return;
        }
    }

  private:
    /// False at the end.
    bool check(int code) {
        if (fault_) throw Fault(*fault_);
        if (code == ARCHIVE_OK) return true;
        if (code == ARCHIVE_EOF) return false;
        if (archive_errno(archive_.get()) == ENOMEM) throw std::bad_alloc();
        const char* why = archive_error_string(archive_.get());
        fail_damaged(printable(why != nullptr ? why : "it is damaged"));
    }

    const Input& input_;
    std::optional<Fault> fault_;
    std::unique_ptr<archive, int (*)(archive*)> archive_;
};

void pass_on(const Input& input, const Sink& sink) {
    for (std::string_view bytes = input(); !bytes.empty(); bytes = input()) {
        if (!sink(bytes)) return;
    }
}

}  // namespace

void decompress(const Input& input, const Sink& sink) {
    std::string first;
    std::string_view rest;
    // A pipe may give them one by one.
    while (first.size() < kMagicSize) {
        rest = input();
        if (rest.empty()) break;
        const size_t taken = std::min(kMagicSize - first.size(), rest.size());
        first += rest.substr(0, taken);
        rest.remove_prefix(taken);
    }
    int given = 0;
    const Input whole = [&]() -> std::string_view {
        if (given++ == 0 && !first.empty()) return first;
        if (given <= 2 && !rest.empty()) return std::exchange(rest, {});
        return input();
    };
    if (starts_with(first, "\x1f\x8b"))
        Gunzip(whole, sink).run();
    else if (starts_with(first, "\x28\xb5\x2f\xfd") ||
             starts_with(first,
                         "\xfd"
                         "7zXZ") ||
             starts_with(first, "BZh"))
        Filter(whole).run(sink);
    else
        pass_on(whole, sink);
}

}  // namespace berth::converter

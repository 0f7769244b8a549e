#pragma once

#include <string>
#include <string_view>

namespace berth::converter {

/// Whose fault it is that there is no result; berthd chooses its own error by it.
enum class Kind {
    kArchive,   ///< the archive is damaged, or holds what cannot be stored
    kDigest,    ///< the archive is not the one that was announced
    kLimit,     ///< more than the caller allows, or than this process may hold in memory
    kStorage,   ///< the output could not be written
    kLayer,     ///< a layer file is damaged
    kInternal,  ///< a library or the kernel refused what should work
};

/// Thrown where conversion cannot go on. Exceptions, not the return codes of native/sys: what fails here
/// fails deep in the handling of an entry, std::bad_alloc has to be expected of every container, and nothing
/// is ever mended halfway.
struct Fault {
    Kind kind = Kind::kInternal;
    /// For people; valid UTF-8 without control characters.
    std::string why;
    /// errno of the call that failed, or 0.
    int error_number = 0;
};

[[noreturn]] void fail(Kind kind, std::string why, int error_number = 0);

/// A failed call on the output file: kStorage with the kernel's words for `error_number`.
[[noreturn]] void fail_storage(const char* call, int error_number);

/// The name of a kind on the border: "archive", "digest", …
const char* name_of(Kind kind);

/// Bytes of a stranger's in a form fit for a terminal: in quotes, what is no printable UTF-8 as \xNN, at most
/// about 200 bytes.
std::string quoted(std::string_view bytes);

/// Text from a library as part of a message: like quoted(), without the quotes.
std::string printable(std::string_view bytes);

/// A string as JSON.
std::string json(std::string_view text);

}  // namespace berth::converter

#pragma once

#include <cerrno>
#include <cstdio>

namespace berth {

/// Why a system call failed: the call, what it was about, and errno. Every function in native/sys that can
/// fail takes one as its last parameter and returns a negative number (or an empty Fd) when it filled it in.
struct Failure {
    int error = 0;
    const char* call = "";
    char object[512] = "";

    /// Records errno. Returns -1, so that `return failure.set("open", path);` reads as one sentence.
    int set(const char* failed_call, const char* about) { return set(failed_call, about, errno); }

    int set(const char* failed_call, const char* about, int error_number) {
        error = error_number;
        call = failed_call;
        std::snprintf(object, sizeof object, "%s", about);
        return -1;
    }
};

}  // namespace berth

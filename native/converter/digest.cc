#include "digest.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "fault.h"

namespace berth::converter {

Sha256::Sha256()
    : algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free),
      context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!algorithm_ || !context_) fail(Kind::kInternal, "OpenSSL offers no SHA-256");
    restart();
}

void Sha256::restart() {
    if (EVP_DigestInit_ex2(context_.get(), algorithm_.get(), nullptr) != 1)
        fail(Kind::kInternal, "SHA-256 could not be started");
}

void Sha256::update(const void* bytes, size_t size) {
    if (EVP_DigestUpdate(context_.get(), bytes, size) != 1) fail(Kind::kInternal, "SHA-256 failed");
}

Sum Sha256::finish() {
    Sum sum;
    if (EVP_DigestFinal_ex(context_.get(), sum.data(), nullptr) != 1) fail(Kind::kInternal, "SHA-256 failed");
    restart();
    return sum;
}

std::string name_of(const Sum& sum) {
    static const char kDigits[] = "0123456789abcdef";
    std::string name = "sha256:";
    for (const uint8_t byte : sum) {
        name += kDigits[byte >> 4U];
        name += kDigits[byte & 0xFU];
    }
    return name;
}

std::string digest_of(int fd, uint64_t size) {
    Sha256 sum;
    std::vector<char> buffer(size_t{1} << 20U);
    for (uint64_t at = 0; at < size;) {
        const size_t wanted = std::min<uint64_t>(buffer.size(), size - at);
        const ssize_t got = pread(fd, buffer.data(), wanted, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail_storage("pread", got < 0 ? errno : EIO);
        sum.update(buffer.data(), static_cast<size_t>(got));
        at += static_cast<uint64_t>(got);
    }
    return name_of(sum.finish());
}

}  // namespace berth::converter

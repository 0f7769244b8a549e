#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace berth::converter {

using Sum = std::array<uint8_t, 32>;

/// SHA-256 of what it is given, piece by piece.
class Sha256 {
  public:
    Sha256();
    void update(const void* bytes, size_t size);
    /// The sum so far; the next update starts anew.
    Sum finish();

  private:
    void restart();
    std::unique_ptr<EVP_MD, void (*)(EVP_MD*)> algorithm_;
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

/// "sha256:" and 64 hexadecimal digits.
std::string name_of(const Sum& sum);

/// The SHA-256 of the first `size` bytes of a file, as name_of() has it.
std::string digest_of(int fd, uint64_t size);

}  // namespace berth::converter

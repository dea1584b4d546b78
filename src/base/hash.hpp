// Content hashes (xxh3). Not cryptographic: they find accidents, not attackers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace rondo::base {

uint64_t hash64(std::string_view bytes, uint64_t seed = 0);

// 128-bit hash of bytes or of a file's content, as 32 hexadecimal digits.
std::string hash_hex(std::string_view bytes);
std::string hash_file(const std::string& path);

// Streaming form of hash_hex: the same digest for the same bytes however they are cut.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rondo::base

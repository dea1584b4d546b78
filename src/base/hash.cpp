#include "base/hash.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"

namespace rondo::base {

namespace {
std::string hex_of(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}
}  // namespace

uint64_t hash64(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::string hash_hex(std::string_view bytes) {
  return hex_of(XXH3_128bits(bytes.data(), bytes.size()));
}

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() {
    RONDO_CHECK(xxh != nullptr);
    XXH3_128bits_reset(xxh);
  }
  ~State() { XXH3_freeState(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}

std::string Hasher::hex() const { return hex_of(XXH3_128bits_digest(state_->xxh)); }

std::string hash_file(const std::string& path) {
  const File file = File::open_read(path);
  Hasher hasher;
  std::vector<std::byte> buffer(1 << 20);
  const int64_t size = file.size();
  for (int64_t at = 0; at < size;) {
    const auto piece = std::span(buffer).first(
        static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(buffer.size()), size - at)));
    file.read_at(at, piece);
    hasher.add(piece);
    at += static_cast<int64_t>(piece.size());
  }
  return hasher.hex();
}

}  // namespace rondo::base

#include "base/random.hpp"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "base/hash.hpp"

namespace rondo::base {

Random::Random(uint64_t seed, std::string_view stream) {
  const uint64_t key = hash64(stream, seed);
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

std::array<uint32_t, 4> Random::block(uint64_t block) const {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::array<uint32_t, 4> counter = {static_cast<uint32_t>(block),
                                     static_cast<uint32_t>(block >> 32), 0, 0};
  std::array<uint32_t, 2> key = key_;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

uint64_t Random::bits(uint64_t index) const {
  const auto words = block(index / 2);
  const size_t half = (index % 2) * 2;
  return static_cast<uint64_t>(words[half]) | (static_cast<uint64_t>(words[half + 1]) << 32);
}

double Random::uniform(uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * 0x1.0p-53;
}

uint64_t Random::below(uint64_t bound, uint64_t index) const {
  RONDO_CHECK(bound >= 1);
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>((static_cast<Wide>(bits(index)) * bound) >> 64);
}

void Random::normal(uint64_t first, float* out, int64_t count) const {
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t index = first + static_cast<uint64_t>(i);
    const uint64_t pair = index / 2 * 2;
    // 1 - u is in (0, 1], so the logarithm is finite.
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(pair)));
    const double angle = 2.0 * std::numbers::pi * uniform(pair + 1);
    out[i] = static_cast<float>(radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle)));
  }
}

std::vector<int64_t> Random::permutation(int64_t count) const {
  RONDO_CHECK(count >= 0);
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[below(i, i)]);
  }
  return order;
}

}  // namespace rondo::base

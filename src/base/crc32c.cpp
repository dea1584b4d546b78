#include "base/crc32c.hpp"

#include <array>
#include <cstring>

#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

namespace rondo::base {

namespace {
constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1) ^ ((value & 1U) != 0 ? 0x82F63B78U : 0U);
    }
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();
}  // namespace

uint32_t crc32c_portable(std::span<const std::byte> bytes, uint32_t previous) {
  uint32_t crc = ~previous;
  for (const std::byte b : bytes) {
    crc = kTable[(crc ^ static_cast<uint32_t>(b)) & 0xFFU] ^ (crc >> 8);
  }
  return ~crc;
}

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t previous) {
#ifdef __SSE4_2__
  uint64_t crc = ~previous;
  while (bytes.size() >= 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    crc = _mm_crc32_u64(crc, word);
    bytes = bytes.subspan(8);
  }
  auto narrow = static_cast<uint32_t>(crc);
  for (const std::byte b : bytes) narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(b));
  return ~narrow;
#else
  return crc32c_portable(bytes, previous);
#endif
}

}  // namespace rondo::base

#include "checkpoint/digest.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <system_error>

#include "base/error.hpp"
#include "base/hash.hpp"

namespace rondo::checkpoint {

namespace {

constexpr int64_t kPage = int64_t{1} << 32;  // elements whose index has the same upper 32 bits

uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

}  // namespace

uint64_t digest_part(std::string_view name, int64_t first, const float* data, int64_t count) {
  RONDO_CHECK(first >= 0 && count >= 0);
  uint64_t sum = 0;
  int64_t done = 0;
  while (done < count) {
    const int64_t index = first + done;
    const int64_t here = std::min(count - done, kPage - index % kPage);
    const uint64_t key = base::hash64(name, static_cast<uint64_t>(index / kPage));
    const auto low = static_cast<uint64_t>(index % kPage);
    const float* from = data + done;
    for (int64_t i = 0; i < here; ++i) {
      const uint64_t bits = std::bit_cast<uint32_t>(from[i]);
      sum += mix((((low + static_cast<uint64_t>(i)) << 32) | bits) + key);
    }
    done += here;
  }
  return sum;
}

std::string digest_text(uint64_t digest) { return fmt::format("{:016x}", digest); }

uint64_t parse_digest(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 16 || error != std::errc{} || end != text.data() + text.size()) {
    base::fail_user("'{}' is not a digest of 16 hexadecimal digits.", text);
  }
  return value;
}

}  // namespace rondo::checkpoint

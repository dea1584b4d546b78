#include "base/stream_copy.hpp"

#include <algorithm>

#ifdef __AVX__
#include <immintrin.h>
#endif

namespace rondo::base {

void stream_copy(const float* from, int64_t count, float* to) {
#ifdef __AVX__
  constexpr int64_t kLine = 16;      // floats of a cache line
  constexpr int64_t kLeast = 16384;  // below it caches are faster
  if (count >= kLeast) {
    const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) / sizeof(float)) % kLine;
    const int64_t head = (kLine - past) % kLine;
    std::copy_n(from, head, to);
    int64_t i = head;
    for (; i + kLine <= count; i += kLine) {
      const __m256 low = _mm256_loadu_ps(from + i);
      const __m256 high = _mm256_loadu_ps(from + i + 8);
      _mm256_stream_ps(to + i, low);
      _mm256_stream_ps(to + i + 8, high);
    }
    _mm_sfence();
    std::copy_n(from + i, count - i, to + i);
    return;
  }
#endif
  std::copy_n(from, count, to);
}

}  // namespace rondo::base

// The tile of AVX-512, compiled for it whatever the rest of the program is compiled for.
#pragma once

#include <cstdint>

#include "kernels/matmul_tile.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#define RONDO_HAS_WIDE_TILE 1
#else
#define RONDO_HAS_WIDE_TILE 0
#endif

namespace rondo::kernels::matmul {

#if RONDO_HAS_WIDE_TILE

// 14 x 32 sums in 28 registers, two for b and one for the broadcast of a. Only for processors with
// AVX-512.
struct WideTile {
  static constexpr int64_t kRows = 14;
  static constexpr int64_t kColumns = 32;

  template <bool kAdd>
  [[gnu::noinline, gnu::target("avx512f")]] static void run(const float* a, const float* b,
                                                            int64_t depth, float* out,
                                                            int64_t stride, Fetch fetch_a,
                                                            Fetch fetch_b) {
    __m512 sum[kRows][2];
#pragma GCC unroll 14
    for (int64_t i = 0; i < kRows; ++i) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    Ahead<kRows, kColumns> ahead{fetch_a, fetch_b, out, stride};
    for (int64_t eights = depth / 8, left_over = depth % 8; eights + left_over > 0;) {
      const int64_t places = eights > 0 ? 8 : 1;
      if (eights > 0) {
        ahead.step(eights);
        --eights;
      } else {
        --left_over;
      }
      for (int64_t k = 0; k < places; ++k, a += kRows, b += kColumns) {
        const __m512 left = _mm512_loadu_ps(b), right = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 14
        for (int64_t i = 0; i < kRows; ++i) {
          const __m512 factor = _mm512_set1_ps(a[i]);
          sum[i][0] = _mm512_fmadd_ps(factor, left, sum[i][0]);
          sum[i][1] = _mm512_fmadd_ps(factor, right, sum[i][1]);
        }
      }
    }
#pragma GCC unroll 14
    for (int64_t i = 0; i < kRows; ++i) {
      float* row = out + i * stride;
      if constexpr (kAdd) {
        sum[i][0] = _mm512_add_ps(_mm512_loadu_ps(row), sum[i][0]);
        sum[i][1] = _mm512_add_ps(_mm512_loadu_ps(row + 16), sum[i][1]);
      }
      _mm512_storeu_ps(row, sum[i][0]);
      _mm512_storeu_ps(row + 16, sum[i][1]);
    }
  }
};

#endif

}  // namespace rondo::kernels::matmul

// The innermost products. Nothing here knows where the packed numbers came from.
//
// A tile has kRows x kColumns sums, and one function:
//
//   run<kAdd>(a, b, depth, out, stride, fetch_a, fetch_b)
//
// sum[i][j] = fma(a[k][i], b[k][j], sum[i][j]) for k = 0, 1, ... depth-1 in this order, beginning
// with zero; then out = sum, or out += sum when kAdd. a [depth, kRows] and b [depth, kColumns] are
// packed, out has `stride` floats per row. Tiles of all sizes give the same bits.
#pragma once

#include <cstdint>

#include "kernels/simd.hpp"

namespace rondo::kernels::matmul {

// Memory that will be needed after a tile: its loop fetches the places next, next + step, ..., one
// every eight inner places.
struct Fetch {
  const float* next;
  int64_t step;  // floats
};

// The rows of out are fetched when about as much time is left as main memory takes to answer:
// earlier, they would push a and b out of the first-level cache. So many times eight inner places:
constexpr int64_t kFetchOutAhead = 18;

// 6 x 16 sums, which with two loads of b and one broadcast of a fill the sixteen registers of AVX2.
struct NarrowTile {
  static constexpr int64_t kRows = 6;
  static constexpr int64_t kColumns = 16;

  // A function of its own, so that the sums get all registers.
  template <bool kAdd>
  [[gnu::noinline]] static void run(const float* a, const float* b, int64_t depth, float* out,
                                    int64_t stride, Fetch fetch_a, Fetch fetch_b) {
    Float8 sum[kRows][2];
#pragma GCC unroll 6
    for (int64_t i = 0; i < kRows; ++i) sum[i][0] = sum[i][1] = Float8::zero();
    const auto step = [&](int64_t k) {
      const Float8 left = Float8::load(b + k * kColumns);
      const Float8 right = Float8::load(b + k * kColumns + 8);
#pragma GCC unroll 6
      for (int64_t i = 0; i < kRows; ++i) {
        const Float8 factor = Float8::all(a[k * kRows + i]);
        sum[i][0] = fma(factor, left, sum[i][0]);
        sum[i][1] = fma(factor, right, sum[i][1]);
      }
    };
    const float* row_ahead = out;
    for (int64_t eights = depth / 8; eights > 0; --eights) {
      __builtin_prefetch(fetch_a.next, 0, 2);
      __builtin_prefetch(fetch_b.next, 0, 2);
      __builtin_prefetch(row_ahead);
      __builtin_prefetch(row_ahead + kColumns - 1);
      fetch_a.next += fetch_a.step;
      fetch_b.next += fetch_b.step;
      row_ahead += eights <= kFetchOutAhead && eights > kFetchOutAhead - kRows ? stride : 0;
#pragma GCC unroll 8
      for (int64_t k = 0; k < 8; ++k) step(k);
      a += 8 * kRows;
      b += 8 * kColumns;
    }
    for (int64_t k = 0; k < depth % 8; ++k) step(k);
#pragma GCC unroll 6
    for (int64_t i = 0; i < kRows; ++i) {
      float* row = out + i * stride;
      if constexpr (kAdd) {
        sum[i][0] = Float8::load(row) + sum[i][0];
        sum[i][1] = Float8::load(row + 8) + sum[i][1];
      }
      sum[i][0].store(row);
      sum[i][1].store(row + 8);
    }
  }
};

}  // namespace rondo::kernels::matmul

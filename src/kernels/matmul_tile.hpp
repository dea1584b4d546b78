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

// What a tile of kRows x kColumns fetches on its way.
template <int64_t kRows, int64_t kColumns>
struct Ahead {
  Fetch a, b;
  const float* row;  // of out
  int64_t stride;

  // Before every eight inner places; `eights` are left, these included. The rows of out are fetched
  // when about as much time is left as main memory takes to answer: earlier, they would push a and
  // b out of the first-level cache.
  [[gnu::always_inline]] void step(int64_t eights) {
    constexpr int64_t kAhead = 18;
    __builtin_prefetch(a.next, 0, 2);
    __builtin_prefetch(b.next, 0, 2);
    __builtin_prefetch(row);
    __builtin_prefetch(row + kColumns - 1);
    a.next += a.step;
    b.next += b.step;
    row += eights <= kAhead && eights > kAhead - kRows ? stride : 0;
  }
};

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
    Ahead<kRows, kColumns> ahead{fetch_a, fetch_b, out, stride};
    for (int64_t eights = depth / 8; eights > 0; --eights) {
      ahead.step(eights);
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

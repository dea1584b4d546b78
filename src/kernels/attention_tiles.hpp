// The pieces that both directions of attention are made of: a small matrix product on register
// tiles, and copies of a head's rows into contiguous scratch memory.
//
// Scratch layouts. Rows: [n, padded width] with the width rounded up to kPanel. Panels: the
// transpose of n rows cut into panels of kPanel columns, [n / kPanel][width][kPanel].
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {

// Rows and columns of a register tile: 6 x 16 floats fill 12 of 16 registers of 8 floats.
constexpr int64_t kTileRows = 6;
constexpr int64_t kPanel = 16;
// Queries and keys whose scores are held at one time.
constexpr int64_t kQueryBlock = 48;
constexpr int64_t kKeyBlock = 512;
// Floats per row of a block of scores; not a power of two, so that columns spread over the cache.
constexpr int64_t kScoreStride = kKeyBlock + 2 * kPanel;

// The left factor: element (row, step) is data[row * row_stride + step * step_stride].
struct Left {
  const float* data;
  int64_t row_stride;
  int64_t step_stride;
};

template <int kRows>
void multiply_tile(Left a, const float* b, int64_t b_stride, int64_t steps, bool add, float* out,
                   int64_t out_stride) {
  Float8 low[static_cast<size_t>(kRows)];
  Float8 high[static_cast<size_t>(kRows)];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
    low[row] = add ? Float8::load(out + row * out_stride) : Float8::zero();
    high[row] = add ? Float8::load(out + row * out_stride + 8) : Float8::zero();
  }
  for (int64_t step = 0; step < steps; ++step) {
    const Float8 b_low = Float8::load(b + step * b_stride);
    const Float8 b_high = Float8::load(b + step * b_stride + 8);
    const float* column = a.data + step * a.step_stride;
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const Float8 factor = Float8::all(column[row * a.row_stride]);
      low[row] = fma(factor, b_low, low[row]);
      high[row] = fma(factor, b_high, high[row]);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
    low[row].store(out + row * out_stride);
    high[row].store(out + row * out_stride + 8);
  }
}

// out[rows, kPanel] = (add ? out : 0) + a[rows, steps] b[steps, kPanel], at most kTileRows rows.
inline void multiply_tile(int64_t rows, Left a, const float* b, int64_t b_stride, int64_t steps,
                          bool add, float* out, int64_t out_stride) {
  switch (rows) {
    case 1:
      return multiply_tile<1>(a, b, b_stride, steps, add, out, out_stride);
    case 2:
      return multiply_tile<2>(a, b, b_stride, steps, add, out, out_stride);
    case 3:
      return multiply_tile<3>(a, b, b_stride, steps, add, out, out_stride);
    case 4:
      return multiply_tile<4>(a, b, b_stride, steps, add, out, out_stride);
    case 5:
      return multiply_tile<5>(a, b, b_stride, steps, add, out, out_stride);
    default:
      return multiply_tile<6>(a, b, b_stride, steps, add, out, out_stride);
  }
}

// Scores of a block of queries with a block of keys, causal: tiles that no query may see are left
// out. `left` holds the queries' rows, `panels` the keys' panels from key 0 of the document.
inline void multiply_scores(const float* left, int64_t width, int64_t padded_width,
                            base::Slice queries, const float* panels, base::Slice keys,
                            float* scores) {
  for (int64_t key = keys.begin; key < keys.end; key += kPanel) {
    const int64_t hidden = std::max<int64_t>(0, key - queries.begin);
    for (int64_t row = hidden - hidden % kTileRows; row < queries.size(); row += kTileRows) {
      multiply_tile(std::min(kTileRows, queries.size() - row),
                    {left + row * padded_width, padded_width, 1}, panels + key * width, kPanel,
                    width, false, scores + row * kScoreStride + key - keys.begin, kScoreStride);
    }
  }
}

// out[queries] (+)= weights[queries, keys] rows[keys], causal: keys after a tile's last query are
// left out; within a tile the weights of later keys are zero.
inline void mix_rows(const float* weights, base::Slice queries, const float* rows, base::Slice keys,
                     int64_t padded_width, float* out) {
  for (int64_t row = 0; row < queries.size(); row += kTileRows) {
    const int64_t size = std::min(kTileRows, queries.size() - row);
    const int64_t steps = std::min(keys.end, queries.begin + row + size) - keys.begin;
    if (steps <= 0) continue;
    for (int64_t column = 0; column < padded_width; column += kPanel) {
      multiply_tile(size, {weights + row * kScoreStride, kScoreStride, 1},
                    rows + keys.begin * padded_width + column, padded_width, steps, keys.begin > 0,
                    out + row * padded_width + column, padded_width);
    }
  }
}

// out[keys] += weights[queries, keys]^T rows[queries], causal alike.
inline void mix_rows_transposed(const float* weights, base::Slice queries, const float* rows,
                                base::Slice keys, int64_t padded_width, float* out) {
  for (int64_t key = keys.begin; key < keys.end; key += kTileRows) {
    const int64_t first = std::max<int64_t>(0, key - queries.begin);
    const int64_t steps = queries.size() - first;
    const int64_t size = std::min(kTileRows, keys.end - key);
    for (int64_t column = 0; column < padded_width; column += kPanel) {
      multiply_tile(size, {weights + first * kScoreStride + key - keys.begin, 1, kScoreStride},
                    rows + first * padded_width + column, padded_width, steps, true,
                    out + key * padded_width + column, padded_width);
    }
  }
}

// to[n, padded_width] = factor * from[n, width], rows of `from` being from_stride apart.
inline void pack_rows(const float* from, int64_t from_stride, int64_t n, int64_t width,
                      float factor, float* to, int64_t padded_width) {
  const Float8 scale = Float8::all(factor);
  for (int64_t row = 0; row < n; ++row) {
    by_eights(width, [&](int64_t i, auto lanes) {
      (Float8::load(from + row * from_stride + i, lanes) * scale)
          .store(to + row * padded_width + i, lanes);
    });
  }
}

// The same from scratch rows back to a strided buffer.
inline void unpack_rows(const float* from, int64_t padded_width, int64_t n, int64_t width,
                        float factor, float* to, int64_t to_stride) {
  pack_rows(from, padded_width, n, width, factor, to, to_stride);
}

// Panels of the transpose of n rows.
inline void pack_panels(const float* from, int64_t from_stride, int64_t n, int64_t width,
                        float* to) {
  for (int64_t row = 0; row < n; ++row) {
    const float* source = from + row * from_stride;
    float* column = to + (row - row % kPanel) * width + row % kPanel;
    for (int64_t i = 0; i < width; ++i) column[i * kPanel] = source[i];
  }
}

// One allocation, cut into pieces that start on cache lines. Zero at first, so that what pads rows
// and panels is no denormal number or NaN.
class Scratch {
 public:
  explicit Scratch(int64_t floats) : memory_(at::zeros({floats}, at::kFloat)) {}
  static int64_t padded(int64_t floats) { return base::round_up(floats, kPanel); }
  float* take(int64_t floats) {
    float* piece = memory_.mutable_data_ptr<float>() + used_;
    used_ += padded(floats);
    RONDO_CHECK(used_ <= memory_.numel());
    return piece;
  }

 private:
  at::Tensor memory_;
  int64_t used_ = 0;
};

}  // namespace rondo::kernels

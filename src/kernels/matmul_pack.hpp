// Copies of parts of a factor in the order in which the tile reads them.
//
// A panel of width w holds, for k = 0, 1, ..., the factor's numbers at the w outer places beside
// one another: [depth, w]. Panels at the end of a factor are filled up with zeros, whose products
// only reach sums that nobody keeps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/matmul_tile.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels::matmul {

// One factor of a product, seen as [outer, inner] where the sum runs over inner: the number at
// (o, k) is data[o * stride + k], or data[k * stride + o] when `transposed`.
struct Factor {
  const float* data = nullptr;
  int64_t stride = 0;
  bool transposed = false;

  // The factor without its first o outer and k inner places.
  Factor from(int64_t o, int64_t k) const {
    return {data + (transposed ? k * stride + o : o * stride + k), stride, transposed};
  }
};

// Part of a factor that will be needed, given out in portions that a tile fetches on its way.
class Soon {
 public:
  Soon() = default;
  // The first `outer` outer places of the factor, as deep as the tile.
  Soon(const Factor& factor, int64_t outer)
      : factor_(factor), portions_(factor.transposed ? 8 * ((outer + 15) / 16) : outer) {}

  // A portion is a row when rows go along the inner places, else every eighth line of a column of
  // cache lines. `nothing` is an address that costs nothing to fetch.
  Fetch next(const float* nothing) {
    if (at_ == portions_) return {nothing, 0};
    const int64_t i = at_++;
    if (!factor_.transposed) return {factor_.data + i * factor_.stride, 8};
    return {factor_.data + i / 8 * 16 + i % 8 * factor_.stride, 8 * factor_.stride};
  }

 private:
  Factor factor_;
  int64_t portions_ = 0, at_ = 0;
};

// to[k * width + i] = from[i * stride + k] for 8 k and `rows` i of at most 8. Writes whole
// registers: up to 8 - rows floats behind the last k are written too.
template <int rows>
inline void transpose_eight(const float* from, int64_t stride, float* to, int64_t width) {
#if defined(__AVX2__) && defined(__FMA__)
  const auto four_of = [&](int i, int64_t k) {
    return i < rows ? _mm_loadu_ps(from + i * stride + k) : _mm_setzero_ps();
  };
  for (int64_t half = 0; half < 8; half += 4) {
    // Rows i and i + 4 share a register, so that no shuffle has to cross its middle.
    const auto pair = [&](int i) {
      return _mm256_set_m128(four_of(i + 4, half), four_of(i, half));
    };
    const __m256 a = pair(0), b = pair(1), c = pair(2), d = pair(3);
    const __m256 ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
    const __m256 cd_low = _mm256_unpacklo_ps(c, d), cd_high = _mm256_unpackhi_ps(c, d);
    float* k = to + half * width;
    _mm256_storeu_ps(k, _mm256_shuffle_ps(ab_low, cd_low, 0x44));
    _mm256_storeu_ps(k + width, _mm256_shuffle_ps(ab_low, cd_low, 0xEE));
    _mm256_storeu_ps(k + 2 * width, _mm256_shuffle_ps(ab_high, cd_high, 0x44));
    _mm256_storeu_ps(k + 3 * width, _mm256_shuffle_ps(ab_high, cd_high, 0xEE));
  }
#else
  for (int64_t k = 0; k < 8; ++k) {
    for (int64_t i = 0; i < rows; ++i) to[k * width + i] = from[i * stride + k];
  }
#endif
}

// Packs a panel of which `outer` < kWidth outer places exist.
template <int kWidth>
void pack_rest(const Factor& factor, int64_t outer, int64_t depth, float* to) {
  std::fill(to, to + depth * kWidth, 0.0F);
  const int64_t step_o = factor.transposed ? 1 : factor.stride;
  const int64_t step_k = factor.transposed ? factor.stride : 1;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t k = 0; k < depth; ++k) {
      to[k * kWidth + o] = factor.data[o * step_o + k * step_k];
    }
  }
}

// Packs one panel of a factor whose rows go along the inner places. Eight floats behind the panel
// may be written.
template <int kWidth>
void pack_rows(const Factor& factor, int64_t depth, float* to) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    // From the last eight to the first: what the last write too far belongs to the first.
    constexpr int kRest = kWidth % 8, kFull = kWidth - kRest;
    if constexpr (kRest > 0) {
      transpose_eight<kRest>(factor.data + kFull * factor.stride + k, factor.stride,
                             to + k * kWidth + kFull, kWidth);
    }
    for (int o = kFull - 8; o >= 0; o -= 8) {
      transpose_eight<8>(factor.data + o * factor.stride + k, factor.stride, to + k * kWidth + o,
                         kWidth);
    }
  }
  for (; k < depth; ++k) {
    for (int o = 0; o < kWidth; ++o) to[k * kWidth + o] = factor.data[o * factor.stride + k];
  }
}

// Packs kPanels panels of a transposed factor side by side, so that the reads are long.
template <int64_t kWidth, int64_t kPanels>
void pack_columns(const Factor& factor, int64_t depth, float* to) {
  const auto some = [&](int64_t k, int64_t count) {
    for (int64_t panel = 0; panel < kPanels; ++panel) {
      for (int64_t i = k; i < k + count; ++i) {
        std::memcpy(to + (panel * depth + i) * kWidth,
                    factor.data + i * factor.stride + panel * kWidth, kWidth * sizeof(float));
      }
    }
  };
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) some(k, 8);
  some(k, depth - k);
}

// Packs `outer` outer places into panels of kWidth end to end. Eight floats behind the last may be
// written.
template <int kWidth>
void pack(const Factor& factor, int64_t outer, int64_t depth, float* to) {
  constexpr int64_t kPanels = 48 / kWidth;
  int64_t o = 0;
  if (factor.transposed) {
    for (; o + kPanels * kWidth <= outer; o += kPanels * kWidth) {
      pack_columns<kWidth, kPanels>(factor.from(o, 0), depth, to + o * depth);
    }
    for (; o + kWidth <= outer; o += kWidth) {
      pack_columns<kWidth, 1>(factor.from(o, 0), depth, to + o * depth);
    }
  } else {
    for (; o + kWidth <= outer; o += kWidth) {
      pack_rows<kWidth>(factor.from(o, 0), depth, to + o * depth);
    }
  }
  if (o < outer) pack_rest<kWidth>(factor.from(o, 0), outer - o, depth, to + o * depth);
}

}  // namespace rondo::kernels::matmul

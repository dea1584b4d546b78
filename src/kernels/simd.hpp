// Eight floats at a time: one register where the target has AVX2 and FMA, elsewhere an array whose
// loops the compiler vectorises as it can. In memory they are float32 or bfloat16, which is rounded
// to the nearest when stored, ties to even.
#pragma once

#include <c10/util/BFloat16.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace rondo::kernels {

// How much of a Float8 a load or store touches: everything, or the first `count` of a row's end.
struct AllLanes {};
struct FirstLanes {
  int64_t count;
};

#if defined(__AVX2__) && defined(__FMA__)

struct Float8 {
  __m256 lanes;

  static Float8 all(float value) { return {_mm256_set1_ps(value)}; }
  static Float8 zero() { return {_mm256_setzero_ps()}; }
  static Float8 load(const float* from) { return {_mm256_loadu_ps(from)}; }
  static Float8 load(const float* from, AllLanes) { return load(from); }
  // Lanes beyond the first are zero.
  static Float8 load(const float* from, FirstLanes some) {
    return {_mm256_maskload_ps(from, mask(some))};
  }
  static Float8 load(const c10::BFloat16* from, AllLanes) {
    __m128i halves;
    std::memcpy(&halves, from, sizeof(halves));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))};
  }
  static Float8 load(const c10::BFloat16* from, FirstLanes some) {
    c10::BFloat16 all[8] = {};
    std::memcpy(all, from, sizeof(*from) * static_cast<size_t>(some.count));
    return load(all, AllLanes{});
  }
  void store(float* to) const { _mm256_storeu_ps(to, lanes); }
  void store(float* to, AllLanes) const { store(to); }
  void store(float* to, FirstLanes some) const { _mm256_maskstore_ps(to, mask(some), lanes); }
  void store(c10::BFloat16* to, AllLanes) const {
    const __m128i halves = rounded_halves();
    std::memcpy(to, &halves, sizeof(halves));
  }
  void store(c10::BFloat16* to, FirstLanes some) const {
    const __m128i halves = rounded_halves();
    std::memcpy(to, &halves, sizeof(*to) * static_cast<size_t>(some.count));
  }

 private:
  // A NaN stays one: its highest bit of the fraction is set.
  __m128i rounded_halves() const {
    const __m256i bits = _mm256_castps_si256(lanes);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i nearest =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(lanes, lanes, _CMP_UNORD_Q));
    const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(nearest, quiet, is_nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
  }

  static __m256i mask(FirstLanes some) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(some.count)), index);
  }
};

inline Float8 operator+(Float8 a, Float8 b) { return {_mm256_add_ps(a.lanes, b.lanes)}; }
inline Float8 operator-(Float8 a, Float8 b) { return {_mm256_sub_ps(a.lanes, b.lanes)}; }
inline Float8 operator*(Float8 a, Float8 b) { return {_mm256_mul_ps(a.lanes, b.lanes)}; }
inline Float8 operator/(Float8 a, Float8 b) { return {_mm256_div_ps(a.lanes, b.lanes)}; }
inline Float8 sqrt(Float8 a) { return {_mm256_sqrt_ps(a.lanes)}; }
// a * b + c, rounded once.
inline Float8 fma(Float8 a, Float8 b, Float8 c) {
  return {_mm256_fmadd_ps(a.lanes, b.lanes, c.lanes)};
}
// Lane by lane a > b ? a : b, so a NaN in b stays and one in a is dropped; min alike.
inline Float8 max(Float8 a, Float8 b) { return {_mm256_max_ps(a.lanes, b.lanes)}; }
inline Float8 min(Float8 a, Float8 b) { return {_mm256_min_ps(a.lanes, b.lanes)}; }
inline Float8 round(Float8 a) {
  return {_mm256_round_ps(a.lanes, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// 2^n for whole n in -126..127.
inline Float8 power_of_two(Float8 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.lanes), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}
// a where x is not below limit (a NaN is not), else zero.
inline Float8 zero_below(Float8 a, Float8 x, Float8 limit) {
  return {_mm256_and_ps(a.lanes, _mm256_cmp_ps(x.lanes, limit.lanes, _CMP_NLT_UQ))};
}
inline bool any_equal(Float8 a, Float8 b) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a.lanes, b.lanes, _CMP_EQ_OQ)) != 0;
}

#else

struct Float8 {
  float lanes[8];

  static Float8 all(float value) {
    Float8 result;
    for (float& lane : result.lanes) lane = value;
    return result;
  }
  static Float8 zero() { return all(0.0F); }
  static Float8 load(const float* from) {
    Float8 result;
    std::memcpy(result.lanes, from, sizeof(result.lanes));
    return result;
  }
  static Float8 load(const float* from, AllLanes) { return load(from); }
  static Float8 load(const float* from, FirstLanes some) {
    Float8 result = zero();
    for (int64_t i = 0; i < some.count; ++i) result.lanes[i] = from[i];
    return result;
  }
  static Float8 load(const c10::BFloat16* from, AllLanes) { return load(from, FirstLanes{8}); }
  static Float8 load(const c10::BFloat16* from, FirstLanes some) {
    Float8 result = zero();
    for (int64_t i = 0; i < some.count; ++i) result.lanes[i] = static_cast<float>(from[i]);
    return result;
  }
  void store(float* to) const { std::memcpy(to, lanes, sizeof(lanes)); }
  void store(float* to, AllLanes) const { store(to); }
  void store(float* to, FirstLanes some) const {
    for (int64_t i = 0; i < some.count; ++i) to[i] = lanes[i];
  }
  void store(c10::BFloat16* to, AllLanes) const { store(to, FirstLanes{8}); }
  void store(c10::BFloat16* to, FirstLanes some) const {
    for (int64_t i = 0; i < some.count; ++i) to[i] = c10::BFloat16(lanes[i]);
  }
};

template <class Operation>
Float8 lane_by_lane(Operation&& operation) {
  Float8 result;
  for (int i = 0; i < 8; ++i) result.lanes[i] = operation(i);
  return result;
}
inline Float8 operator+(Float8 a, Float8 b) {
  return lane_by_lane([&](int i) { return a.lanes[i] + b.lanes[i]; });
}
inline Float8 operator-(Float8 a, Float8 b) {
  return lane_by_lane([&](int i) { return a.lanes[i] - b.lanes[i]; });
}
inline Float8 operator*(Float8 a, Float8 b) {
  return lane_by_lane([&](int i) { return a.lanes[i] * b.lanes[i]; });
}
inline Float8 operator/(Float8 a, Float8 b) {
  return lane_by_lane([&](int i) { return a.lanes[i] / b.lanes[i]; });
}
inline Float8 sqrt(Float8 a) {
  return lane_by_lane([&](int i) { return std::sqrt(a.lanes[i]); });
}
// a * b + c, rounded once.
inline Float8 fma(Float8 a, Float8 b, Float8 c) {
  return lane_by_lane([&](int i) { return std::fma(a.lanes[i], b.lanes[i], c.lanes[i]); });
}
// Lane by lane a > b ? a : b, so a NaN in b stays and one in a is dropped; min alike.
inline Float8 max(Float8 a, Float8 b) {
  return lane_by_lane([&](int i) { return a.lanes[i] > b.lanes[i] ? a.lanes[i] : b.lanes[i]; });
}
inline Float8 min(Float8 a, Float8 b) {
  return lane_by_lane([&](int i) { return a.lanes[i] < b.lanes[i] ? a.lanes[i] : b.lanes[i]; });
}
inline Float8 round(Float8 a) {
  return lane_by_lane([&](int i) { return std::nearbyint(a.lanes[i]); });
}
// 2^n for whole n in -126..127.
inline Float8 power_of_two(Float8 n) {
  return lane_by_lane([&](int i) {
    const float whole = n.lanes[i] == n.lanes[i] ? n.lanes[i] : 0.0F;
    const uint32_t bits = static_cast<uint32_t>(static_cast<int>(whole) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof(power));
    return power;
  });
}
// a where x is not below limit (a NaN is not), else zero.
inline Float8 zero_below(Float8 a, Float8 x, Float8 limit) {
  return lane_by_lane([&](int i) { return x.lanes[i] < limit.lanes[i] ? 0.0F : a.lanes[i]; });
}
inline bool any_equal(Float8 a, Float8 b) {
  bool found = false;
  for (int i = 0; i < 8; ++i) found = found || a.lanes[i] == b.lanes[i];
  return found;
}

#endif

// The eight lanes added as a fixed tree.
inline float sum_of_lanes(Float8 a) {
  float lane[8];
  a.store(lane);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}
inline float max_of_lanes(Float8 a) {
  float lane[8];
  a.store(lane);
  float result = lane[0];
  for (int i = 1; i < 8; ++i) result = lane[i] > result ? lane[i] : result;
  return result;
}

// e^x to about 2 units in the last place; NaN stays NaN; below -87.33 exactly zero (no subnormal
// results), above 88.37 the value at 88.37. e^x = 2^n * e^r with |r| <= ln(2)/2 and a polynomial
// for e^r whose coefficients are a least-squares fit of the relative error at Chebyshev points.
inline Float8 exp(Float8 x) {
  const Float8 lowest = Float8::all(-87.33F);
  const Float8 inside = min(Float8::all(88.37F), max(lowest, x));
  const Float8 n = round(inside * Float8::all(1.44269504F));
  // ln(2) in two parts, the first with few enough bits that n times it is exact.
  Float8 r = fma(n, Float8::all(-0.693359375F), inside);
  r = fma(n, Float8::all(2.12194440e-4F), r);
  Float8 y = Float8::all(1.38145229e-03F);
  y = fma(y, r, Float8::all(8.36874688e-03F));
  y = fma(y, r, Float8::all(4.16683911e-02F));
  y = fma(y, r, Float8::all(1.66665204e-01F));
  y = fma(y, r, Float8::all(4.99999934e-01F));
  y = fma(y * r, r, r) + Float8::all(1.0F);
  return zero_below(y * power_of_two(n), x, lowest);
}

// 1 / (1 + e^-x).
inline Float8 sigmoid(Float8 x) {
  const Float8 one = Float8::all(1.0F);
  return one / (one + exp(Float8::zero() - x));
}

// Stores a and returns what is then in memory.
template <class T, class Lanes>
Float8 store_and_load(Float8 a, T* to, Lanes lanes) {
  a.store(to, lanes);
  if constexpr (std::is_same_v<T, float>) return a;
  return Float8::load(to, lanes);
}

// Calls body(i, lanes) for i = 0, 8, 16, ... below n; lanes is FirstLanes at the end of a row that
// is no multiple of eight.
template <class Body>
void by_eights(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) body(i, AllLanes{});
  if (i < n) body(i, FirstLanes{n - i});
}

// The largest of n numbers; NaN may be dropped, so that who uses it must see NaN elsewhere.
inline float largest(const float* row, int64_t n) {
  Float8 result = Float8::all(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) result = max(result, Float8::load(row + i));
  float most = max_of_lanes(result);
  for (; i < n; ++i) most = row[i] > most ? row[i] : most;
  return most;
}

}  // namespace rondo::kernels

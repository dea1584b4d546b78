// Slice arithmetic: which part of a whole belongs to which rank. Pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/error.hpp"

namespace rondo::base {

// Elements [begin, end) of a whole.
struct Slice {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
  bool empty() const { return end <= begin; }
  bool operator==(const Slice&) const = default;
};

// `count` runs of `length` elements, the first from `begin` on, each `stride` after the one before:
// the part of a row-major matrix with rows of `stride` elements that a range of columns is. One run
// alone is a Slice.
struct Strided {
  int64_t begin = 0;
  int64_t length = 0;
  int64_t stride = 0;
  int64_t count = 1;

  Strided() = default;
  Strided(int64_t first, int64_t run, int64_t step, int64_t runs)
      : begin(first), length(run), stride(step), count(runs) {}
  Strided(Slice slice)  // NOLINT(google-explicit-constructor): every slice is one
      : begin(slice.begin), length(slice.size()), stride(slice.size()) {}

  int64_t size() const { return length * count; }
  bool empty() const { return length <= 0 || count <= 0; }
  // Behind the last element.
  int64_t end() const { return begin + (count - 1) * stride + length; }
  Slice run(int64_t k) const { return {begin + k * stride, begin + k * stride + length}; }
  bool operator==(const Strided&) const = default;
};

inline Slice intersect(Slice a, Slice b) {
  const Slice both{std::max(a.begin, b.begin), std::min(a.end, b.end)};
  return both.empty() ? Slice{both.begin, both.begin} : both;
}

// Part `index` of `total` elements cut into `parts` neighbouring parts whose sizes differ by at
// most one, the larger ones first.
inline Slice even_part(int64_t total, int64_t parts, int64_t index) {
  RONDO_CHECK(total >= 0 && parts >= 1 && index >= 0 && index < parts);
  const int64_t small = total / parts;
  const int64_t extra = total % parts;
  const int64_t begin = index * small + std::min(index, extra);
  return {begin, begin + small + (index < extra ? 1 : 0)};
}

inline constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t value, int64_t multiple) {
  return ceil_div(value, multiple) * multiple;
}

// A conversion that changes the value is a bug.
template <class To, class From>
To narrow(From value) {
  const To result = static_cast<To>(value);
  RONDO_CHECK(static_cast<From>(result) == value && ((result < To{}) == (value < From{})));
  return result;
}

}  // namespace rondo::base

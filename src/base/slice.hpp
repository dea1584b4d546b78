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

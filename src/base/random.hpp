// Counter-based random numbers: a value is a pure function of (seed, stream, index).
//
// Nothing here has state, so the same numbers come out for every number of ranks and threads and
// after every resume. Generator: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace rondo::base {

class Random {
 public:
  // `stream` names what the numbers are for, for example a parameter's name.
  Random(uint64_t seed, std::string_view stream);

  // Four independent 32-bit values for counter `block`.
  std::array<uint32_t, 4> block(uint64_t block) const;
  uint64_t bits(uint64_t index) const;
  // Uniform in [0, 1) with 53 bits.
  double uniform(uint64_t index) const;
  // Uniform integer in [0, bound), bound >= 1, without modulo bias beyond 2^-64.
  uint64_t below(uint64_t bound, uint64_t index) const;
  // Fills out[i] with standard normal number first + i (Box-Muller on one block per two numbers).
  void normal(uint64_t first, float* out, int64_t count) const;
  // A seeded order of 0..count-1 (Fisher-Yates).
  std::vector<int64_t> permutation(int64_t count) const;

 private:
  std::array<uint32_t, 2> key_;
};

}  // namespace rondo::base

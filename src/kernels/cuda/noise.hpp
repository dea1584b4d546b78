// Stochastic rounding to bfloat16: up or down with the probabilities that make the mean right, so
// that changes which are small beside a value are not lost over many steps (Gupta et al. 2015). The
// random bits are a pure function of a key and the element's number. The same on host and device.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/types.hpp"

#ifdef __CUDACC__
#define RONDO_EVERYWHERE __host__ __device__
#else
#define RONDO_EVERYWHERE
#endif

namespace rondo::kernels::cuda {

// Number `index` of the splitmix64 sequence (Steele, Lea and Flood 2014) that begins at `key`; its
// upper half.
RONDO_EVERYWHERE inline uint32_t noise(uint64_t key, uint64_t index) {
  uint64_t x = key + (index + 1) * 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return static_cast<uint32_t>((x ^ (x >> 31)) >> 32);
}

// By the lower 16 bits of `random`; infinity and NaN stay what they are.
RONDO_EVERYWHERE inline Bf16 round_stochastically(float value, uint32_t random) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  constexpr uint32_t kExponent = 0x7f800000U;
  if ((bits & kExponent) != kExponent)
    return {static_cast<uint16_t>((bits + (random & 0xffffU)) >> 16)};
  const uint32_t quiet = (bits & 0x007fffffU) != 0 ? 0x00400000U : 0U;
  return {static_cast<uint16_t>((bits | quiet) >> 16)};
}

}  // namespace rondo::kernels::cuda

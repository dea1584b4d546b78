// Types that the host and the kernels of this folder share. No torch, no CUDA.
#pragma once

#include <cstdint>

namespace rondo::kernels::cuda {

// The upper half of a float's bits.
struct Bf16 {
  uint16_t bits;
};

template <int kSize>
struct Width {
  static constexpr int kCount = kSize;
};

using Stream = void*;  // cudaStream_t

}  // namespace rondo::kernels::cuda

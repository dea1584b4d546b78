// What the kernels of this folder are written with. The same source is compiled by nvcc for GPUs
// and, in tests, by the host's compiler with an emulation of blocks and barriers
// (tests/kernels/emulation), so that indices and the work of threads together are tested anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// The emulation is included by its build, ahead of everything.
#ifdef __CUDACC__
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#endif

#include "kernels/cuda/types.hpp"

namespace rondo::kernels::cuda {

inline constexpr int kWarp = 32;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(Bf16 value) {
  const uint32_t bits = uint32_t{value.bits} << 16;
  float result;
  memcpy(&result, &bits, sizeof result);
  return result;
}

// Rounded to the nearest, ties to even; NaN stays NaN.
template <class T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline Bf16 from_float<Bf16>(float value) {
#ifdef __CUDA_ARCH__
  Bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
#endif
}

// Sixteen bytes of values, the widest access there is.
template <class T>
struct alignas(16) Vector {
  static constexpr int kSize = 16 / sizeof(T);
  T values[kSize];
};

// Whether rows of `length` elements, end to end from each of these addresses on, can be accessed by
// sixteen bytes.
template <class... T>
bool is_wide(int64_t length, const T*... rows) {
  return ((reinterpret_cast<uintptr_t>(rows) % 16 == 0 && length % Vector<T>::kSize == 0) && ...);
}

// Calls use(first element, how many: Vector<T>::kSize or 1) for the part of `count` elements that
// is thread `mine` of `all`'s: sixteen bytes at a time where `wide`, and the rest one by one.
template <class T, class Use>
__device__ inline void for_each_of(int64_t count, bool wide, int64_t mine, int64_t all, Use use) {
  constexpr int kSize = Vector<T>::kSize;
  const int64_t vectors = wide ? count / kSize : 0;
  for (int64_t i = mine; i < vectors; i += all) use(i * kSize, Width<kSize>{});
  for (int64_t i = vectors * kSize + mine; i < count; i += all) use(i, Width<1>{});
}

// `kSize` values from `from` on, as float; aligned to 16 bytes where kSize is that of Vectors.
template <int kSize, class T>
__device__ inline void load(const T* from, float (&values)[kSize]) {
  constexpr int kEach = Vector<T>::kSize;
  if constexpr (kSize % kEach == 0) {
    for (int first = 0; first < kSize; first += kEach) {
      const auto whole = *reinterpret_cast<const Vector<T>*>(from + first);
      for (int i = 0; i < kEach; ++i) values[first + i] = to_float(whole.values[i]);
    }
  } else {
    for (int i = 0; i < kSize; ++i) values[i] = to_float(from[i]);
  }
}
template <int kSize, class T>
__device__ inline void store(const float (&values)[kSize], T* to) {
  constexpr int kEach = Vector<T>::kSize;
  if constexpr (kSize % kEach == 0) {
    for (int first = 0; first < kSize; first += kEach) {
      Vector<T> whole;
      for (int i = 0; i < kEach; ++i) whole.values[i] = from_float<T>(values[first + i]);
      *reinterpret_cast<Vector<T>*>(to + first) = whole;
    }
  } else {
    for (int i = 0; i < kSize; ++i) to[i] = from_float<T>(values[i]);
  }
}

// Over the threads of a warp, in an order that is always the same; on all of them.
__device__ inline float warp_sum(float value) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    value += __shfl_xor_sync(0xffffffffU, value, lanes);
  }
  return value;
}

// Over the `kThreads` threads of a row, which are neighbours in a block of `kRows` rows. On all of
// them. `scratch`: shared, kRows * kThreads / kWarp floats, used by nothing else until the next
// barrier of the block.
template <int kThreads>
__device__ inline float row_sum(float value, int thread, int row, float* scratch) {
  value = warp_sum(value);
  if constexpr (kThreads > kWarp) {
    constexpr int kWarps = kThreads / kWarp;
    if (thread % kWarp == 0) scratch[row * kWarps + thread / kWarp] = value;
    __syncthreads();
    value = 0;
    for (int warp = 0; warp < kWarps; ++warp) value += scratch[row * kWarps + warp];
    __syncthreads();
  }
  return value;
}

// Blocks that cover `count` of what each covers `each`.
inline unsigned blocks_of(int64_t count, int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

// Queues a kernel. std::runtime_error when the device refuses it.
#ifdef __CUDACC__
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            Stream stream, Arguments... arguments) {
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(
      static_cast<Parameters>(arguments)...);
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("a kernel cannot be launched: ") +
                           cudaGetErrorString(error));
}
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
}
#else
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            Stream /*stream*/, Arguments... arguments) {
  emulation::run(grid, block, shared_bytes, [&] { kernel(static_cast<Parameters>(arguments)...); });
}
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulation::dynamic_shared());
}
#endif

}  // namespace rondo::kernels::cuda

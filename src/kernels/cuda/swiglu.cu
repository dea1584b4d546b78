#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.hpp"

namespace rondo::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostRowBlocks = 65535;  // of a grid's y

__device__ float sigmoid(float value) { return 1.0F / (1.0F + expf(-value)); }

// Calls use(row, element, width) for the elements of this thread of `rows` rows of f.
template <class T, class Use>
__device__ void for_each_of_rows(int64_t rows, int64_t f, bool wide, Use use) {
  const int64_t mine = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t all = int64_t{gridDim.x} * kThreads;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    for_each_of<T>(f, wide, mine, all, [&](int64_t i, auto width) { use(row, i, width); });
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward(const T* gate_up, T* out, int64_t rows, int64_t f, bool wide) {
  for_each_of_rows<T>(rows, f, wide, [&](int64_t row, int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    const T* gate = gate_up + row * 2 * f + i;
    float gates[kSize], ups[kSize];
    load<kSize>(gate, gates);
    load<kSize>(gate + f, ups);
    for (int k = 0; k < kSize; ++k) ups[k] *= gates[k] * sigmoid(gates[k]);
    store<kSize>(ups, out + row * f + i);
  });
}

// d/dg silu(g) = s + g s (1 - s), s = sigmoid(g).
template <class T>
__global__ void __launch_bounds__(kThreads)
    backward(const T* dout, T* gate_up, int64_t rows, int64_t f, bool wide) {
  for_each_of_rows<T>(rows, f, wide, [&](int64_t row, int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    T* gate = gate_up + row * 2 * f + i;
    float gates[kSize], ups[kSize], gradients[kSize];
    load<kSize>(gate, gates);
    load<kSize>(gate + f, ups);
    load<kSize>(dout + row * f + i, gradients);
    for (int k = 0; k < kSize; ++k) {
      const float s = sigmoid(gates[k]);
      const float silu = gates[k] * s;
      gates[k] = gradients[k] * ups[k] * (s + silu * (1.0F - s));
      ups[k] = gradients[k] * silu;
    }
    store<kSize>(gates, gate);
    store<kSize>(ups, gate + f);
  });
}

template <class T>
dim3 grid_of(int64_t rows, int64_t f) {
  const int64_t row_blocks = rows < kMostRowBlocks ? rows : kMostRowBlocks;
  return dim3{blocks_of(f, int64_t{kThreads} * Vector<T>::kSize),
              static_cast<unsigned>(row_blocks)};
}

}  // namespace

template <class T>
void swiglu(const T* gate_up, T* out, int64_t rows, int64_t f, Stream stream) {
  if (rows == 0) return;
  const bool wide = is_wide(f, gate_up, out);
  launch(forward<T>, grid_of<T>(rows, f), dim3{kThreads}, 0, stream, gate_up, out, rows, f, wide);
}

template <class T>
void swiglu_backward(const T* dout, T* gate_up, int64_t rows, int64_t f, Stream stream) {
  if (rows == 0) return;
  const bool wide = is_wide(f, gate_up, dout);
  launch(backward<T>, grid_of<T>(rows, f), dim3{kThreads}, 0, stream, dout, gate_up, rows, f, wide);
}

#define RONDO_INSTANTIATE(T)                                       \
  template void swiglu<T>(const T*, T*, int64_t, int64_t, Stream); \
  template void swiglu_backward<T>(const T*, T*, int64_t, int64_t, Stream);
RONDO_INSTANTIATE(float)
RONDO_INSTANTIATE(Bf16)

}  // namespace rondo::kernels::cuda

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.hpp"

namespace rondo::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct Rope {
  T* x;
  int64_t row_stride;
  int64_t heads, half;  // of a head's width
  const int32_t* positions;
  const float* cos;
  const float* sin;
  float sign;  // of the angle
  bool wide;
};

// A block rotates one row; a thread some pairs (i, i + half), sixteen bytes of each side at a time.
template <class T>
__global__ void __launch_bounds__(kThreads) rotate(Rope<T> a) {
  T* const row = a.x + int64_t{blockIdx.x} * a.row_stride;
  const int64_t angle = int64_t{a.positions[blockIdx.x]} * a.half;
  const auto pairs = [&](int64_t pair, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    const int64_t i = pair % a.half;
    T* const first = row + pair / a.half * 2 * a.half + i;
    float left[kSize], right[kSize];
    load<kSize>(first, left);
    load<kSize>(first + a.half, right);
    for (int k = 0; k < kSize; ++k) {
      const float cos = a.cos[angle + i + k];
      const float sin = a.sign * a.sin[angle + i + k];
      const float turned = left[k] * cos - right[k] * sin;
      right[k] = right[k] * cos + left[k] * sin;
      left[k] = turned;
    }
    store<kSize>(left, first);
    store<kSize>(right, first + a.half);
  };
  for_each_of<T>(a.heads * a.half, a.wide, threadIdx.x, kThreads, pairs);
}

}  // namespace

template <class T>
void rope(T* x, int64_t row_stride, int64_t heads, int64_t head_width, const int32_t* positions,
          const float* cos, const float* sin, bool inverse, int64_t rows, Stream stream) {
  if (rows == 0) return;
  const int64_t half = head_width / 2;
  const Rope<T> a = {.x = x,
                     .row_stride = row_stride,
                     .heads = heads,
                     .half = half,
                     .positions = positions,
                     .cos = cos,
                     .sin = sin,
                     .sign = inverse ? -1.0F : 1.0F,
                     .wide = is_wide(half, x) && is_wide(row_stride, x)};
  launch(rotate<T>, dim3{blocks_of(rows, 1)}, dim3{kThreads}, 0, stream, a);
}

#define RONDO_INSTANTIATE(T)                                                                       \
  template void rope<T>(T*, int64_t, int64_t, int64_t, const int32_t*, const float*, const float*, \
                        bool, int64_t, Stream);
RONDO_INSTANTIATE(float)
RONDO_INSTANTIATE(Bf16)

}  // namespace rondo::kernels::cuda

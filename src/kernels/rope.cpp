#include <ATen/Parallel.h>

#include "kernels/buffers.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {

namespace {

// As the public function, on the CPU.
template <class T>
void rotate(at::Tensor& x, int64_t row_stride, int64_t heads, int64_t head_width,
            const at::Tensor& positions_t, const at::Tensor& cos, const at::Tensor& sin,
            bool inverse) {
  const int64_t half = head_width / 2;
  const int64_t rows = positions_t.numel();
  const int64_t table_rows = cos.size(0);
  const int32_t* positions = input<int32_t>(positions_t);
  const float* cosines = input<float>(cos);
  const float* sines = input<float>(sin);
  T* values = x.mutable_data_ptr<T>();
  const Float8 sign = Float8::all(inverse ? -1.0F : 1.0F);
  at::parallel_for(0, rows, grain_of(heads * head_width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t position = positions[row];
      RONDO_CHECK(position >= 0 && position < table_rows, "position {} of a rope table of {}",
                  position, table_rows);
      const float* c = cosines + position * half;
      const float* s = sines + position * half;
      for (int64_t head = 0; head < heads; ++head) {
        T* low = values + row * row_stride + head * head_width;
        T* high = low + half;
        by_eights(half, [&](int64_t i, auto lanes) {
          const Float8 a = Float8::load(low + i, lanes);
          const Float8 b = Float8::load(high + i, lanes);
          const Float8 cosine = Float8::load(c + i, lanes);
          const Float8 sine = sign * Float8::load(s + i, lanes);
          (a * cosine - b * sine).store(low + i, lanes);
          (b * cosine + a * sine).store(high + i, lanes);
        });
      }
    }
  });
}

}  // namespace

void rope(at::Tensor& x, int64_t row_stride, int64_t heads, int64_t head_width,
          const at::Tensor& positions_t, const at::Tensor& cos, const at::Tensor& sin,
          bool inverse) {
  RONDO_CHECK(head_width % 2 == 0, "rope needs an even head width, found {}", head_width);
  RONDO_CHECK(heads * head_width <= row_stride && cos.size(1) == head_width / 2 &&
              sin.sizes() == cos.sizes());
  if (device::serves(x)) {
    return device::rope(x, row_stride, heads, head_width, positions_t, cos, sin, inverse);
  }
  by_type(x, [&](auto t) {
    rotate<decltype(t)>(x, row_stride, heads, head_width, positions_t, cos, sin, inverse);
  });
}

}  // namespace rondo::kernels

#include <ATen/Parallel.h>

#include "kernels/buffers.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {

void rope(at::Tensor& x, int64_t row_stride, int64_t heads, int64_t head_width,
          const at::Tensor& positions_t, const at::Tensor& cos, const at::Tensor& sin,
          bool inverse) {
  RONDO_CHECK(head_width % 2 == 0, "rope needs an even head width, found {}", head_width);
  const int64_t half = head_width / 2;
  const int64_t rows = positions_t.numel();
  const int64_t table_rows = cos.size(0);
  RONDO_CHECK(heads * head_width <= row_stride && cos.size(1) == half &&
              sin.sizes() == cos.sizes());
  const int32_t* positions = input<int32_t>(positions_t);
  const float* cosines = input<float>(cos);
  const float* sines = input<float>(sin);
  float* values = x.mutable_data_ptr<float>();
  const Float8 sign = Float8::all(inverse ? -1.0F : 1.0F);
  at::parallel_for(0, rows, grain_of(heads * head_width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t position = positions[row];
      RONDO_CHECK(position >= 0 && position < table_rows, "position {} of a rope table of {}",
                  position, table_rows);
      const float* c = cosines + position * half;
      const float* s = sines + position * half;
      for (int64_t head = 0; head < heads; ++head) {
        float* low = values + row * row_stride + head * head_width;
        float* high = low + half;
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

}  // namespace rondo::kernels

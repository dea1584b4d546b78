#include <ATen/Parallel.h>

#include "kernels/buffers.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {

void swiglu(const at::Tensor& gate_up_t2f, at::Tensor& out_tf) {
  const int64_t rows = out_tf.size(0);
  const int64_t f = out_tf.size(1);
  RONDO_CHECK(gate_up_t2f.numel() == rows * 2 * f);
  const float* gate_up = input<float>(gate_up_t2f);
  float* out = output(out_tf);
  at::parallel_for(0, rows, grain_of(f), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* gate = gate_up + row * 2 * f;
      const float* up = gate + f;
      float* to = out + row * f;
      by_eights(f, [&](int64_t i, auto lanes) {
        const Float8 g = Float8::load(gate + i, lanes);
        (g * sigmoid(g) * Float8::load(up + i, lanes)).store(to + i, lanes);
      });
    }
  });
}

void swiglu_backward(const at::Tensor& dout_tf, at::Tensor& gate_up_t2f) {
  const int64_t rows = dout_tf.size(0);
  const int64_t f = dout_tf.size(1);
  RONDO_CHECK(gate_up_t2f.numel() == rows * 2 * f);
  const float* dout = input<float>(dout_tf);
  float* gate_up = output(gate_up_t2f);
  const Float8 one = Float8::all(1.0F);
  at::parallel_for(0, rows, grain_of(f), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = dout + row * f;
      float* gate = gate_up + row * 2 * f;
      float* up = gate + f;
      by_eights(f, [&](int64_t i, auto lanes) {
        const Float8 d = Float8::load(from + i, lanes);
        const Float8 g = Float8::load(gate + i, lanes);
        const Float8 u = Float8::load(up + i, lanes);
        const Float8 s = sigmoid(g);
        // d silu(g) / dg = s + g s (1 - s).
        (d * u * s * fma(g, one - s, one)).store(gate + i, lanes);
        (d * (g * s)).store(up + i, lanes);
      });
    }
  });
}

}  // namespace rondo::kernels

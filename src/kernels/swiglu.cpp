#include <ATen/Parallel.h>

#include "kernels/buffers.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {

namespace {

// As the public functions, on the CPU.
template <class T>
void forward(const at::Tensor& gate_up_t2f, at::Tensor& out_tf) {
  const int64_t rows = out_tf.size(0);
  const int64_t f = out_tf.size(1);
  const T* gate_up = input<T>(gate_up_t2f);
  T* out = output<T>(out_tf);
  at::parallel_for(0, rows, grain_of(f), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* gate = gate_up + row * 2 * f;
      const T* up = gate + f;
      T* to = out + row * f;
      by_eights(f, [&](int64_t i, auto lanes) {
        const Float8 g = Float8::load(gate + i, lanes);
        (g * sigmoid(g) * Float8::load(up + i, lanes)).store(to + i, lanes);
      });
    }
  });
}

template <class T>
void backward(const at::Tensor& dout_tf, at::Tensor& gate_up_t2f) {
  const int64_t rows = dout_tf.size(0);
  const int64_t f = dout_tf.size(1);
  const T* dout = input<T>(dout_tf);
  T* gate_up = output<T>(gate_up_t2f);
  const Float8 one = Float8::all(1.0F);
  at::parallel_for(0, rows, grain_of(f), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = dout + row * f;
      T* gate = gate_up + row * 2 * f;
      T* up = gate + f;
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

}  // namespace

void swiglu(const at::Tensor& gate_up_t2f, at::Tensor& out_tf) {
  RONDO_CHECK(gate_up_t2f.numel() == 2 * out_tf.numel());
  if (device::serves(out_tf)) return device::swiglu(gate_up_t2f, out_tf);
  by_type(out_tf, [&](auto t) { forward<decltype(t)>(gate_up_t2f, out_tf); });
}

void swiglu_backward(const at::Tensor& dout_tf, at::Tensor& gate_up_t2f) {
  RONDO_CHECK(gate_up_t2f.numel() == 2 * dout_tf.numel());
  if (device::serves(dout_tf)) return device::swiglu_backward(dout_tf, gate_up_t2f);
  by_type(dout_tf, [&](auto t) { backward<decltype(t)>(dout_tf, gate_up_t2f); });
}

}  // namespace rondo::kernels

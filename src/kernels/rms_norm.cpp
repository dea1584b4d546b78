#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "base/slice.hpp"
#include "kernels/buffers.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {
namespace {

// Rows whose weight gradients are added up by themselves; fixed, so that the sum does not depend on
// the number of threads.
constexpr int64_t kBlockRows = 256;

float reciprocal_root(float sum_of_squares, int64_t d, double eps) {
  return static_cast<float>(
      1.0 / std::sqrt(static_cast<double>(sum_of_squares) / static_cast<double>(d) + eps));
}

template <class T>
void scale_row(const T* x, const T* weight, float rstd, int64_t d, T* out) {
  const Float8 factor = Float8::all(rstd);
  by_eights(d, [&](int64_t i, auto lanes) {
    (Float8::load(x + i, lanes) * factor * Float8::load(weight + i, lanes)).store(out + i, lanes);
  });
}

// dx (added to when accumulate) of one row; adds the row's part to dweight.
template <class T>
void backward_row(const T* dout, const T* x, const T* weight, float rstd, int64_t d,
                  bool accumulate, T* dx, float* dweight) {
  Float8 dot = Float8::zero();
  by_eights(d, [&](int64_t i, auto lanes) {
    dot = fma(Float8::load(dout + i, lanes) * Float8::load(weight + i, lanes),
              Float8::load(x + i, lanes), dot);
  });
  const Float8 factor = Float8::all(rstd);
  const Float8 pull = Float8::all(-rstd * rstd * rstd * sum_of_lanes(dot) / static_cast<float>(d));
  by_eights(d, [&](int64_t i, auto lanes) {
    const Float8 scaled = Float8::load(dout + i, lanes) * factor;
    const Float8 row = Float8::load(x + i, lanes);
    Float8 result = fma(scaled, Float8::load(weight + i, lanes), row * pull);
    if (accumulate) result = Float8::load(dx + i, lanes) + result;
    result.store(dx + i, lanes);
    fma(scaled, row, Float8::load(dweight + i, lanes)).store(dweight + i, lanes);
  });
}

// As the public functions, on the CPU.
template <class T>
void norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
          at::Tensor& rstd_t) {
  const int64_t d = weight_d.numel();
  const T* x = input<T>(x_td);
  const T* weight = input<T>(weight_d);
  T* out = output<T>(out_td);
  float* rstd = output(rstd_t);
  at::parallel_for(0, rstd_t.numel(), grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x + row * d;
      Float8 squares = Float8::zero();
      by_eights(d, [&](int64_t i, auto lanes) {
        const Float8 value = Float8::load(from + i, lanes);
        squares = fma(value, value, squares);
      });
      rstd[row] = reciprocal_root(sum_of_lanes(squares), d, eps);
      scale_row(from, weight, rstd[row], d, out + row * d);
    }
  });
}

template <class T>
void norm_again(const at::Tensor& x_td, const at::Tensor& weight_d, const at::Tensor& rstd_t,
                at::Tensor& out_td) {
  const int64_t d = weight_d.numel();
  const T* x = input<T>(x_td);
  const T* weight = input<T>(weight_d);
  const float* rstd = input<float>(rstd_t);
  T* out = output<T>(out_td);
  at::parallel_for(0, rstd_t.numel(), grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      scale_row(x + row * d, weight, rstd[row], d, out + row * d);
    }
  });
}

template <class T>
void norm_sum(const at::Tensor& x_td, const at::Tensor& residual_td, const at::Tensor& weight_d,
              double eps, at::Tensor& sum_td, at::Tensor& out_td, at::Tensor& rstd_t) {
  const int64_t d = weight_d.numel();
  const T* x = input<T>(x_td);
  const T* residual = input<T>(residual_td);
  const T* weight = input<T>(weight_d);
  T* sum = output<T>(sum_td);
  T* out = output<T>(out_td);
  float* rstd = output(rstd_t);
  at::parallel_for(0, rstd_t.numel(), grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row * d;
      Float8 squares = Float8::zero();
      by_eights(d, [&](int64_t i, auto lanes) {
        const Float8 value = store_and_load(
            Float8::load(x + first + i, lanes) + Float8::load(residual + first + i, lanes),
            sum + first + i, lanes);
        squares = fma(value, value, squares);
      });
      rstd[row] = reciprocal_root(sum_of_lanes(squares), d, eps);
      scale_row(sum + first, weight, rstd[row], d, out + first);
    }
  });
}

template <class T>
void norm_backward(const at::Tensor& dout_td, const at::Tensor& x_td, const at::Tensor& weight_d,
                   const at::Tensor& rstd_t, bool accumulate, at::Tensor& dx_td,
                   at::Tensor& dweight_d) {
  const int64_t d = weight_d.numel();
  const int64_t rows = rstd_t.numel();
  const T* dout = input<T>(dout_td);
  const T* x = input<T>(x_td);
  const T* weight = input<T>(weight_d);
  const float* rstd = input<float>(rstd_t);
  T* dx = output<T>(dx_td);
  float* dweight = output(dweight_d);
  const int64_t blocks = base::ceil_div(rows, kBlockRows);
  const at::Tensor partial_bd = at::zeros({blocks, d}, at::kFloat);
  float* partial = output(partial_bd);
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t last = std::min(rows, (block + 1) * kBlockRows);
      for (int64_t row = block * kBlockRows; row < last; ++row) {
        backward_row(dout + row * d, x + row * d, weight, rstd[row], d, accumulate, dx + row * d,
                     partial + block * d);
      }
    }
  });
  for (int64_t block = 0; block < blocks; ++block) {
    const float* part = partial + block * d;
    by_eights(d, [&](int64_t i, auto lanes) {
      (Float8::load(dweight + i, lanes) + Float8::load(part + i, lanes)).store(dweight + i, lanes);
    });
  }
}

}  // namespace

void rms_norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
              at::Tensor& rstd_t) {
  const int64_t numel = rstd_t.numel() * weight_d.numel();
  RONDO_CHECK(x_td.numel() == numel && out_td.numel() == numel);
  if (device::serves(x_td)) return device::rms_norm(x_td, weight_d, eps, out_td, rstd_t);
  by_type(x_td, [&](auto t) { norm<decltype(t)>(x_td, weight_d, eps, out_td, rstd_t); });
}

void rms_norm_again(const at::Tensor& x_td, const at::Tensor& weight_d, const at::Tensor& rstd_t,
                    at::Tensor& out_td) {
  const int64_t numel = rstd_t.numel() * weight_d.numel();
  RONDO_CHECK(x_td.numel() == numel && out_td.numel() == numel);
  if (device::serves(x_td)) return device::rms_norm_again(x_td, weight_d, rstd_t, out_td);
  by_type(x_td, [&](auto t) { norm_again<decltype(t)>(x_td, weight_d, rstd_t, out_td); });
}

void add_rms_norm(const at::Tensor& x_td, const at::Tensor& residual_td, const at::Tensor& weight_d,
                  double eps, at::Tensor& sum_td, at::Tensor& out_td, at::Tensor& rstd_t) {
  const int64_t numel = rstd_t.numel() * weight_d.numel();
  RONDO_CHECK(x_td.numel() == numel && residual_td.numel() == numel && sum_td.numel() == numel &&
              out_td.numel() == numel);
  if (device::serves(x_td)) {
    return device::add_rms_norm(x_td, residual_td, weight_d, eps, sum_td, out_td, rstd_t);
  }
  by_type(x_td, [&](auto t) {
    norm_sum<decltype(t)>(x_td, residual_td, weight_d, eps, sum_td, out_td, rstd_t);
  });
}

void rms_norm_backward(const at::Tensor& dout_td, const at::Tensor& x_td,
                       const at::Tensor& weight_d, const at::Tensor& rstd_t, bool accumulate,
                       at::Tensor& dx_td, at::Tensor& dweight_d) {
  const int64_t d = weight_d.numel();
  const int64_t numel = rstd_t.numel() * d;
  RONDO_CHECK(x_td.numel() == numel && dout_td.numel() == numel && dx_td.numel() == numel &&
              dweight_d.numel() == d);
  if (device::serves(x_td)) {
    return device::rms_norm_backward(dout_td, x_td, weight_d, rstd_t, accumulate, dx_td, dweight_d);
  }
  by_type(x_td, [&](auto t) {
    norm_backward<decltype(t)>(dout_td, x_td, weight_d, rstd_t, accumulate, dx_td, dweight_d);
  });
}

}  // namespace rondo::kernels

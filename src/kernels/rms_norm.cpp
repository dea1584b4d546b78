#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "base/slice.hpp"
#include "kernels/buffers.hpp"
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

void scale_row(const float* x, const float* weight, float rstd, int64_t d, float* out) {
  const Float8 factor = Float8::all(rstd);
  by_eights(d, [&](int64_t i, auto lanes) {
    (Float8::load(x + i, lanes) * factor * Float8::load(weight + i, lanes)).store(out + i, lanes);
  });
}

// dx (added to when accumulate) of one row; adds the row's part to dweight.
void backward_row(const float* dout, const float* x, const float* weight, float rstd, int64_t d,
                  bool accumulate, float* dx, float* dweight) {
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

}  // namespace

void rms_norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
              at::Tensor& rstd_t) {
  const int64_t d = weight_d.numel();
  const int64_t rows = rstd_t.numel();
  RONDO_CHECK(x_td.numel() == rows * d && out_td.numel() == rows * d);
  const float* x = input<float>(x_td);
  const float* weight = input<float>(weight_d);
  float* out = output(out_td);
  float* rstd = output(rstd_t);
  at::parallel_for(0, rows, grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * d;
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

void rms_norm_again(const at::Tensor& x_td, const at::Tensor& weight_d, const at::Tensor& rstd_t,
                    at::Tensor& out_td) {
  const int64_t d = weight_d.numel();
  const int64_t rows = rstd_t.numel();
  RONDO_CHECK(x_td.numel() == rows * d && out_td.numel() == rows * d);
  const float* x = input<float>(x_td);
  const float* weight = input<float>(weight_d);
  const float* rstd = input<float>(rstd_t);
  float* out = output(out_td);
  at::parallel_for(0, rows, grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      scale_row(x + row * d, weight, rstd[row], d, out + row * d);
    }
  });
}

void add_rms_norm(const at::Tensor& x_td, const at::Tensor& residual_td, const at::Tensor& weight_d,
                  double eps, at::Tensor& sum_td, at::Tensor& out_td, at::Tensor& rstd_t) {
  const int64_t d = weight_d.numel();
  const int64_t rows = rstd_t.numel();
  RONDO_CHECK(x_td.numel() == rows * d && residual_td.numel() == rows * d &&
              sum_td.numel() == rows * d && out_td.numel() == rows * d);
  const float* x = input<float>(x_td);
  const float* residual = input<float>(residual_td);
  const float* weight = input<float>(weight_d);
  float* sum = output(sum_td);
  float* out = output(out_td);
  float* rstd = output(rstd_t);
  at::parallel_for(0, rows, grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row * d;
      Float8 squares = Float8::zero();
      by_eights(d, [&](int64_t i, auto lanes) {
        const Float8 value =
            Float8::load(x + first + i, lanes) + Float8::load(residual + first + i, lanes);
        value.store(sum + first + i, lanes);
        squares = fma(value, value, squares);
      });
      rstd[row] = reciprocal_root(sum_of_lanes(squares), d, eps);
      scale_row(sum + first, weight, rstd[row], d, out + first);
    }
  });
}

void rms_norm_backward(const at::Tensor& dout_td, const at::Tensor& x_td,
                       const at::Tensor& weight_d, const at::Tensor& rstd_t, bool accumulate,
                       at::Tensor& dx_td, at::Tensor& dweight_d) {
  const int64_t d = weight_d.numel();
  const int64_t rows = rstd_t.numel();
  RONDO_CHECK(x_td.numel() == rows * d && dout_td.numel() == rows * d &&
              dx_td.numel() == rows * d && dweight_d.numel() == d);
  const float* dout = input<float>(dout_td);
  const float* x = input<float>(x_td);
  const float* weight = input<float>(weight_d);
  const float* rstd = input<float>(rstd_t);
  float* dx = output(dx_td);
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

}  // namespace rondo::kernels

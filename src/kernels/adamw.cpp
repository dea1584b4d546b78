#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <type_traits>
#include <vector>

#include "base/slice.hpp"
#include "kernels/buffers.hpp"
#include "kernels/cuda/noise.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {
namespace {

// Elements whose squares are added up by themselves; fixed, so that the sum does not depend on the
// number of threads.
constexpr int64_t kNormBlock = 1 << 16;

double squared_norm_of_block(const float* x, int64_t n) {
  constexpr int64_t kLanes = 16;
  double lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const double value = static_cast<double>(x[i + j]);
      lane[j] += value * value;
    }
  }
  double sum = 0;
  for (const double part : lane) sum += part;
  for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// New moments of up to eight elements from number `first` on. Each is rounded by half of its
// element's random bits, where they are bfloat16.
template <class Lanes>
void store_moments(Float8 m, Float8 v, float* to_m, float* to_v, const AdamStep& /*step*/,
                   int64_t /*first*/, Lanes lanes) {
  m.store(to_m, lanes);
  v.store(to_v, lanes);
}
template <class Lanes>
void store_moments(Float8 m, Float8 v, at::BFloat16* to_m, at::BFloat16* to_v, const AdamStep& step,
                   int64_t first, Lanes lanes) {
  int64_t count = 8;
  if constexpr (std::is_same_v<Lanes, FirstLanes>) count = lanes.count;
  float exact_m[8], exact_v[8];
  m.store(exact_m);
  v.store(exact_v);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t random = cuda::noise(step.noise_key, static_cast<uint64_t>(first + i));
    to_m[i].x = cuda::round_stochastically(exact_m[i], random).bits;
    to_v[i].x = cuda::round_stochastically(exact_v[i], random >> 16).bits;
  }
}

// As the public function, on the CPU, with moments of M.
template <class M>
void update(const AdamStep& step, const at::Tensor& grads, at::Tensor& weights, at::Tensor& m,
            at::Tensor& v) {
  const int64_t n = weights.numel();
  const float* gradients = input<float>(grads);
  float* weight = output(weights);
  M* first = output<M>(m);
  M* second = output<M>(v);
  const double count = static_cast<double>(step.step);
  const double bias1 = 1.0 - std::pow(step.beta1, count);
  const double bias2 = 1.0 - std::pow(step.beta2, count);
  const auto all = [](double value) { return Float8::all(static_cast<float>(value)); };
  const Float8 scale = all(step.grad_scale);
  const Float8 decay = all(1.0 - step.lr * step.weight_decay);
  const Float8 one_minus_beta1 = all(1.0 - step.beta1);
  const Float8 beta2 = all(step.beta2);
  const Float8 one_minus_beta2 = all(1.0 - step.beta2);
  const Float8 root_bias2 = all(std::sqrt(bias2));
  const Float8 eps = all(step.eps);
  const Float8 minus_step_size = all(-step.lr / bias1);
  const Float8 zero = Float8::zero();
  constexpr int64_t kBlock = 8192;
  // Every product that is added to something is a written fma, never one of the compiler's choice,
  // so that an element's bits do not depend on where a shard of the buffer begins.
  at::parallel_for(0, base::ceil_div(n, kBlock), 4, [&](int64_t begin, int64_t end) {
    const int64_t from = begin * kBlock;
    const int64_t size = std::min(n, end * kBlock) - from;
    by_eights(size, [&](int64_t offset, auto lanes) {
      const int64_t i = from + offset;
      const Float8 raw = Float8::load(gradients + i, lanes);
      const Float8 g = raw * scale;
      const Float8 old_m = Float8::load(first + i, lanes);
      const Float8 new_m = fma(one_minus_beta1, fma(raw, scale, zero - old_m), old_m);
      const Float8 new_v = fma(Float8::load(second + i, lanes), beta2, one_minus_beta2 * g * g);
      const Float8 denominator = sqrt(new_v) / root_bias2 + eps;
      const Float8 change = minus_step_size * new_m / denominator;
      store_moments(new_m, new_v, first + i, second + i, step, step.first + i, lanes);
      fma(Float8::load(weight + i, lanes), decay, change).store(weight + i, lanes);
    });
  });
}

}  // namespace

void adamw(const AdamStep& step, const at::Tensor& grads, at::Tensor& weights, at::Tensor& m,
           at::Tensor& v) {
  const int64_t n = weights.numel();
  RONDO_CHECK(step.step >= 1 && grads.numel() == n && m.numel() == n && v.numel() == n);
  RONDO_CHECK(m.scalar_type() == v.scalar_type(), "moments of two types");
  if (device::serves(weights)) return device::adamw(step, grads, weights, m, v);
  by_type(m, [&](auto t) { update<decltype(t)>(step, grads, weights, m, v); });
}

double squared_norm(const at::Tensor& flat) {
  const int64_t n = flat.numel();
  const float* x = input<float>(flat);
  const int64_t blocks = base::ceil_div(n, kNormBlock);
  std::vector<double> partial(static_cast<size_t>(blocks));
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t from = block * kNormBlock;
      partial[static_cast<size_t>(block)] =
          squared_norm_of_block(x + from, std::min(kNormBlock, n - from));
    }
  });
  double sum = 0;
  for (const double part : partial) sum += part;
  return sum;
}

at::Tensor squared_norms(std::span<const at::Tensor> flat) {
  if (!flat.empty() && device::serves(flat.front())) return device::squared_norms(flat);
  const at::Tensor sums = at::empty({std::ssize(flat)}, at::kDouble);
  for (size_t i = 0; i < flat.size(); ++i) {
    sums.mutable_data_ptr<double>()[i] = squared_norm(flat[i]);
  }
  return sums;
}

}  // namespace rondo::kernels

#include <cmath>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.hpp"
#include "kernels/cuda/noise.hpp"

namespace rondo::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kMostBlocks = 1U << 16;

// The factors of a step, rounded as the CPU's kernel rounds them.
struct Factors {
  float decay, one_minus_beta1, beta2, one_minus_beta2, root_bias2, eps, minus_step_size;
};

Factors factors_of(const AdamW& step) {
  const double count = static_cast<double>(step.step);
  const double bias1 = 1.0 - std::pow(step.beta1, count);
  const double bias2 = 1.0 - std::pow(step.beta2, count);
  return {.decay = static_cast<float>(1.0 - step.lr * step.weight_decay),
          .one_minus_beta1 = static_cast<float>(1.0 - step.beta1),
          .beta2 = static_cast<float>(step.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - step.beta2),
          .root_bias2 = static_cast<float>(std::sqrt(bias2)),
          .eps = static_cast<float>(step.eps),
          .minus_step_size = static_cast<float>(-step.lr / bias1)};
}

template <class M>
struct Buffers {
  const float* grads;
  const float* grad_scale;
  float* weights;
  M* m;
  M* v;
  Bf16* rounded;
  int64_t count;
  uint64_t noise_key;
  int64_t first;
  bool wide;
};

// The moments of elements from `first` on, rounded where M is bfloat16: each by half of the
// element's random bits.
template <int kSize>
__device__ void store_moments(const float (&m)[kSize], const float (&v)[kSize], float* to_m,
                              float* to_v, uint64_t /*key*/, int64_t /*first*/) {
  store<kSize>(m, to_m);
  store<kSize>(v, to_v);
}
template <int kSize>
__device__ void store_moments(const float (&m)[kSize], const float (&v)[kSize], Bf16* to_m,
                              Bf16* to_v, uint64_t key, int64_t first) {
  float rounded_m[kSize], rounded_v[kSize];
  for (int k = 0; k < kSize; ++k) {
    const uint32_t random = noise(key, static_cast<uint64_t>(first + k));
    rounded_m[k] = to_float(round_stochastically(m[k], random));
    rounded_v[k] = to_float(round_stochastically(v[k], random >> 16));
  }
  store<kSize>(rounded_m, to_m);
  store<kSize>(rounded_v, to_v);
}

// Products that are added to something are written fmaf, as on the CPU: the bits are the same.
template <class M>
__global__ void __launch_bounds__(kThreads) update(Factors f, Buffers<M> a) {
  const int64_t mine = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const float scale = *a.grad_scale;
  for_each_of<M>(a.count, a.wide, mine, int64_t{gridDim.x} * kThreads, [&](int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    float grads[kSize], weights[kSize], m[kSize], v[kSize];
    load<kSize>(a.grads + i, grads);
    load<kSize>(a.weights + i, weights);
    load<kSize>(a.m + i, m);
    load<kSize>(a.v + i, v);
    for (int k = 0; k < kSize; ++k) {
      const float g = grads[k] * scale;
      m[k] = fmaf(f.one_minus_beta1, fmaf(grads[k], scale, -m[k]), m[k]);
      v[k] = fmaf(v[k], f.beta2, f.one_minus_beta2 * g * g);
      const float denominator = sqrtf(v[k]) / f.root_bias2 + f.eps;
      weights[k] = fmaf(weights[k], f.decay, f.minus_step_size * m[k] / denominator);
    }
    store_moments<kSize>(m, v, a.m + i, a.v + i, a.noise_key, a.first + i);
    store<kSize>(weights, a.weights + i);
    if (a.rounded == nullptr) return;
    for (int k = 0; k < kSize; ++k) a.rounded[i + k] = from_float<Bf16>(weights[k]);
  });
}

// As the CPU adds: blocks of elements, sixteen sums in each, then the last elements, in order.
constexpr int64_t kNormBlock = 1 << 16;
constexpr int kLanes = 16;
constexpr int kNormThreads = 128;
constexpr int kNormBlocks = kNormThreads / kLanes;  // of elements, for one block of threads

__global__ void __launch_bounds__(kNormThreads)
    squares_of_blocks(const float* values, int64_t count, double* parts) {
  __shared__ double lanes[kNormThreads];
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t block =
      int64_t{blockIdx.x} * kNormBlocks + static_cast<int64_t>(threadIdx.x) / kLanes;
  const int64_t begin = block * kNormBlock;
  const int64_t left = count - begin;
  const int64_t size = left < kNormBlock ? left : kNormBlock;  // below 0 past the end
  double sum = 0;
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const double value = static_cast<double>(values[begin + i + lane]);
    sum += value * value;
  }
  lanes[threadIdx.x] = sum;
  __syncthreads();
  if (lane != 0 || size <= 0) return;
  sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += lanes[threadIdx.x + static_cast<unsigned>(k)];
  for (; i < size; ++i) {
    const double value = static_cast<double>(values[begin + i]);
    sum += value * value;
  }
  parts[block] = sum;
}

__global__ void __launch_bounds__(kNormThreads)
    add_in_order(const double* parts, int64_t count, double* result) {
  __shared__ double some[kNormThreads];
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += kNormThreads) {
    const int64_t mine = begin + threadIdx.x;
    some[threadIdx.x] = mine < count ? parts[mine] : 0.0;
    __syncthreads();
    for (int k = 0; threadIdx.x == 0 && k < kNormThreads; ++k) sum += some[k];
    __syncthreads();
  }
  if (threadIdx.x == 0) *result = sum;
}

}  // namespace

template <class M>
void adamw(const AdamW& step, const float* grads, const float* grad_scale, float* weights, M* m,
           M* v, Bf16* rounded, int64_t count, Stream stream) {
  if (count == 0) return;
  const Buffers<M> a = {.grads = grads,
                        .grad_scale = grad_scale,
                        .weights = weights,
                        .m = m,
                        .v = v,
                        .rounded = rounded,
                        .count = count,
                        .noise_key = step.noise_key,
                        .first = step.first,
                        .wide = is_wide(0, grads, weights, m, v)};
  const unsigned blocks = blocks_of(count, int64_t{kThreads} * Vector<M>::kSize);
  launch(update<M>, dim3{blocks < kMostBlocks ? blocks : kMostBlocks}, dim3{kThreads}, 0, stream,
         factors_of(step), a);
}
template void adamw<float>(const AdamW&, const float*, const float*, float*, float*, float*, Bf16*,
                           int64_t, Stream);
template void adamw<Bf16>(const AdamW&, const float*, const float*, float*, Bf16*, Bf16*, Bf16*,
                          int64_t, Stream);

int64_t squared_norm_workspace(int64_t count) { return (count + kNormBlock - 1) / kNormBlock; }

void squared_norm(const float* values, int64_t count, double* workspace, double* result,
                  Stream stream) {
  const int64_t blocks = squared_norm_workspace(count);
  if (blocks > 0) {
    launch(squares_of_blocks, dim3{blocks_of(blocks, kNormBlocks)}, dim3{kNormThreads}, 0, stream,
           values, count, workspace);
  }
  launch(add_in_order, dim3{1}, dim3{kNormThreads}, 0, stream, workspace, blocks, result);
}

}  // namespace rondo::kernels::cuda

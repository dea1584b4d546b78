#include <cmath>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.hpp"

namespace rondo::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kMergeThreads = 128;

// The largest of some logits, the sum of e^(logit - most), and the lowest id that has it.
struct Seen {
  float most = -INFINITY;
  float sum = 0;
  int32_t id = INT32_MAX;
};

// Where most is infinite the sum becomes NaN, and so does the loss.
__device__ Seen merge(const Seen& a, const Seen& b) {
  const float most = fmaxf(a.most, b.most);
  const auto scaled = [&](const Seen& one) {
    return one.most == most ? one.sum : one.sum * expf(one.most - most);
  };
  int32_t id = a.most == most ? a.id : INT32_MAX;
  if (b.most == most && b.id < id) id = b.id;
  return {most, scaled(a) + scaled(b), id};
}

__device__ void add(Seen& seen, float logit, int64_t id) {
  if (logit > seen.most) {
    seen.sum *= expf(seen.most - logit);
    seen.most = logit;
    seen.id = static_cast<int32_t>(id);
  }
  // Of the infinite too.
  seen.sum += logit == seen.most ? 1.0F : expf(logit - seen.most);
}

// One pass over the logits of a row, by a block.
template <class T>
__global__ void __launch_bounds__(kThreads)
    look(const T* logits, const int64_t* labels, int64_t first_id, int64_t v, bool wide,
         SliceRows out) {
  __shared__ float most[kThreads / kWarp], sum[kThreads / kWarp];
  __shared__ int32_t id[kThreads / kWarp];
  const int64_t row = blockIdx.x;
  const T* from = logits + row * v;
  Seen seen;
  for_each_of<T>(v, wide, threadIdx.x, kThreads, [&](int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    float values[kSize];
    load<kSize>(from + i, values);
    for (int k = 0; k < kSize; ++k) add(seen, values[k], i + k);
  });
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    Seen other;
    other.most = __shfl_xor_sync(0xffffffffU, seen.most, lanes);
    other.sum = __shfl_xor_sync(0xffffffffU, seen.sum, lanes);
    other.id = __shfl_xor_sync(0xffffffffU, seen.id, lanes);
    seen = merge(seen, other);
  }
  if (threadIdx.x % kWarp == 0) {
    most[threadIdx.x / kWarp] = seen.most;
    sum[threadIdx.x / kWarp] = seen.sum;
    id[threadIdx.x / kWarp] = seen.id;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / kWarp; ++warp) {
    seen = merge(seen, {most[warp], sum[warp], id[warp]});
  }
  const int64_t label = labels[row] - first_id;
  const bool here = label >= 0 && label < v;
  out.largest[row] = seen.most;
  out.sum[row] = static_cast<double>(seen.sum);
  out.of_label[row] = here ? static_cast<double>(to_float(from[label])) : 0.0;
  // By an id before the label, or instead of it.
  out.beaten[row] = (here ? seen.id != label : label >= v) ? 1.0F : 0.0F;
}

__global__ void scale(SliceRows slice, const float* most, int64_t rows, double* sums) {
  const int64_t row = int64_t{blockIdx.x} * kMergeThreads + threadIdx.x;
  if (row >= rows) return;
  const float largest = slice.largest[row];
  const double by = largest == most[row]
                        ? 1.0
                        : exp(static_cast<double>(largest) - static_cast<double>(most[row]));
  sums[row] = slice.sum[row] * by;
  sums[rows + row] = slice.of_label[row];
  sums[2 * rows + row] = slice.beaten[row] != 0 && largest == most[row] ? 1.0 : 0.0;
}

__global__ void finish(const float* most, const double* sums, int64_t rows, float* losses,
                       float* correct) {
  const int64_t row = int64_t{blockIdx.x} * kMergeThreads + threadIdx.x;
  if (row >= rows) return;
  const double largest = static_cast<double>(most[row]);
  losses[row] = static_cast<float>(log(sums[row]) + largest - sums[rows + row]);
  correct[row] = sums[rows + row] == largest && sums[2 * rows + row] == 0 ? 1.0F : 0.0F;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gradient(T* logits, const int64_t* labels, int64_t first_id, int64_t v, bool wide,
             const float* most, const double* sums, const float* weights, double factor) {
  const int64_t row = blockIdx.x;
  T* const from = logits + row * v;
  const int64_t label = labels[row] - first_id;
  const double wanted = factor * static_cast<double>(weights[row]);
  const float all = static_cast<float>(wanted / sums[row]);
  const float at_label = static_cast<float>(wanted);
  const float largest = most[row];
  for_each_of<T>(v, wide, threadIdx.x, kThreads, [&](int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    float values[kSize];
    load<kSize>(from + i, values);
    for (int k = 0; k < kSize; ++k) {
      values[k] = expf(values[k] - largest) * all;
      if (i + k == label) values[k] -= at_label;
    }
    store<kSize>(values, from + i);
  });
}

}  // namespace

template <class T>
void look_at_logits(const T* logits, const int64_t* labels, int64_t first_id, int64_t rows,
                    int64_t v, const SliceRows& out, Stream stream) {
  if (rows == 0) return;
  launch(look<T>, dim3{blocks_of(rows, 1)}, dim3{kThreads}, 0, stream, logits, labels, first_id, v,
         is_wide(v, logits), out);
}

void scale_slice(const SliceRows& slice, const float* most, int64_t rows, double* sums,
                 Stream stream) {
  if (rows == 0) return;
  launch(scale, dim3{blocks_of(rows, kMergeThreads)}, dim3{kMergeThreads}, 0, stream, slice, most,
         rows, sums);
}

void finish_losses(const float* most, const double* sums, int64_t rows, float* losses,
                   float* correct, Stream stream) {
  if (rows == 0) return;
  launch(finish, dim3{blocks_of(rows, kMergeThreads)}, dim3{kMergeThreads}, 0, stream, most, sums,
         rows, losses, correct);
}

template <class T>
void cross_entropy_gradient(T* logits, const int64_t* labels, int64_t first_id, int64_t rows,
                            int64_t v, const float* most, const double* sums, const float* weights,
                            double factor, Stream stream) {
  if (rows == 0 || v == 0) return;
  launch(gradient<T>, dim3{blocks_of(rows, 1)}, dim3{kThreads}, 0, stream, logits, labels, first_id,
         v, is_wide(v, logits), most, sums, weights, factor);
}

#define RONDO_INSTANTIATE(T)                                                                 \
  template void look_at_logits<T>(const T*, const int64_t*, int64_t, int64_t, int64_t,       \
                                  const SliceRows&, Stream);                                 \
  template void cross_entropy_gradient<T>(T*, const int64_t*, int64_t, int64_t, int64_t,     \
                                          const float*, const double*, const float*, double, \
                                          Stream);
RONDO_INSTANTIATE(float)
RONDO_INSTANTIATE(Bf16)

}  // namespace rondo::kernels::cuda

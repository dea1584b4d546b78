#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.hpp"

namespace rondo::kernels::cuda {
namespace {

// Threads of a block: one row, or a warp for each of eight where rows are short.
constexpr int kThreads = 256;
constexpr int64_t kShortRow = 1024;  // elements
// Groups of rows whose weight gradients are added up by themselves, at most.
constexpr int kGroups = 256;
constexpr int kReduceThreads = 128;

template <class T>
struct Forward {
  const T* x;
  const T* residual;  // or null
  const T* weight;
  float eps;
  T* sum;  // where there is a residual
  T* out;
  float* rstd;
  int64_t rows, d;
  bool again;  // rstd is there
  bool wide;
};

template <class T, int kRowThreads>
__device__ float find_rstd(const Forward<T>& a, int64_t row, int thread, int local,
                           float* scratch) {
  float squares = 0;
  for_each_of<T>(a.d, a.wide, thread, kRowThreads, [&](int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    float values[kSize];
    load<kSize>(a.x + row * a.d + i, values);
    if (a.residual != nullptr) {
      float more[kSize];
      load<kSize>(a.residual + row * a.d + i, more);
      // What is read again is what is stored.
      for (int k = 0; k < kSize; ++k) values[k] = to_float(from_float<T>(values[k] + more[k]));
      store<kSize>(values, a.sum + row * a.d + i);
    }
    for (int k = 0; k < kSize; ++k) squares += values[k] * values[k];
  });
  squares = row_sum<kRowThreads>(squares, thread, local, scratch);
  return rsqrtf(squares / static_cast<float>(a.d) + a.eps);
}

template <class T, int kRowThreads>
__global__ void __launch_bounds__(kThreads) normalise(Forward<T> a) {
  constexpr int kRows = kThreads / kRowThreads;
  __shared__ float scratch[kThreads / kWarp];
  const int thread = static_cast<int>(threadIdx.x);
  const int local = static_cast<int>(threadIdx.y);
  const int64_t row = int64_t{blockIdx.x} * kRows + local;
  // A row's threads leave together; a barrier is only met where the block has one row.
  if (row >= a.rows) return;
  const float rstd =
      a.again ? a.rstd[row] : find_rstd<T, kRowThreads>(a, row, thread, local, scratch);
  if (thread == 0 && !a.again) a.rstd[row] = rstd;
  const T* from = (a.residual != nullptr ? a.sum : a.x) + row * a.d;
  for_each_of<T>(a.d, a.wide, thread, kRowThreads, [&](int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    float values[kSize], weights[kSize];
    load<kSize>(from + i, values);
    load<kSize>(a.weight + i, weights);
    for (int k = 0; k < kSize; ++k) values[k] = values[k] * rstd * weights[k];
    store<kSize>(values, a.out + row * a.d + i);
  });
}

template <class T>
struct Backward {
  const T* dout;
  const T* x;
  const T* weight;
  const float* rstd;
  bool accumulate;
  T* dx;
  float* parts;  // of dweight, [groups, d]
  int64_t groups;
  int64_t rows, d;
  bool wide;
};

// dx = rstd * (dout * w - x * rstd^2 / d * sum(dout * w * x)); dweight = sum of dout * x * rstd.
template <class T, int kRowThreads>
__global__ void __launch_bounds__(kThreads) normalise_backward(Backward<T> a) {
  constexpr int kRows = kThreads / kRowThreads;
  __shared__ float scratch[kThreads / kWarp];
  float* const sums =
      dynamic_shared<float>();  // [kRows, d]: each thread adds to elements of its own
  const int thread = static_cast<int>(threadIdx.x);
  const int local = static_cast<int>(threadIdx.y);
  float* const mine = sums + local * a.d;
  for (int64_t i = thread; i < a.d; i += kRowThreads) mine[i] = 0;
  __syncthreads();
  const int64_t group_rows = (a.rows + a.groups - 1) / a.groups;
  const int64_t begin = int64_t{blockIdx.x} * group_rows;
  const int64_t end = begin + group_rows < a.rows ? begin + group_rows : a.rows;
  for (int64_t row = begin + local; row < end; row += kRows) {
    const T* x = a.x + row * a.d;
    const T* dout = a.dout + row * a.d;
    float dot = 0;
    for_each_of<T>(a.d, a.wide, thread, kRowThreads, [&](int64_t i, auto width) {
      constexpr int kSize = decltype(width)::kCount;
      float values[kSize], weights[kSize], gradients[kSize];
      load<kSize>(x + i, values);
      load<kSize>(a.weight + i, weights);
      load<kSize>(dout + i, gradients);
      for (int k = 0; k < kSize; ++k) dot += gradients[k] * weights[k] * values[k];
    });
    dot = row_sum<kRowThreads>(dot, thread, local, scratch);
    const float rstd = a.rstd[row];
    const float pull = -rstd * rstd * rstd * dot / static_cast<float>(a.d);
    for_each_of<T>(a.d, a.wide, thread, kRowThreads, [&](int64_t i, auto width) {
      constexpr int kSize = decltype(width)::kCount;
      float values[kSize], weights[kSize], gradients[kSize], result[kSize];
      load<kSize>(x + i, values);
      load<kSize>(a.weight + i, weights);
      load<kSize>(dout + i, gradients);
      for (int k = 0; k < kSize; ++k) result[k] = 0;
      if (a.accumulate) load<kSize>(a.dx + row * a.d + i, result);
      for (int k = 0; k < kSize; ++k) {
        const float scaled = gradients[k] * rstd;
        result[k] += scaled * weights[k] + values[k] * pull;
        mine[i + k] += scaled * values[k];
      }
      store<kSize>(result, a.dx + row * a.d + i);
    });
  }
  __syncthreads();
  const int flat = local * kRowThreads + thread;
  for (int64_t i = flat; i < a.d; i += kThreads) {
    float sum = 0;
    for (int row = 0; row < kRows; ++row) sum += sums[row * a.d + i];
    a.parts[int64_t{blockIdx.x} * a.d + i] = sum;
  }
}

__global__ void add_parts(const float* parts, int64_t groups, float* dweight, int64_t d) {
  const int64_t i = int64_t{blockIdx.x} * kReduceThreads + threadIdx.x;
  if (i >= d) return;
  float sum = 0;
  for (int64_t group = 0; group < groups; ++group) sum += parts[group * d + i];
  dweight[i] += sum;
}

template <class T>
void run(const Forward<T>& a, Stream stream) {
  if (a.rows == 0) return;
  if (a.d > kShortRow) {
    launch(normalise<T, kThreads>, dim3{blocks_of(a.rows, 1)}, dim3{kThreads}, 0, stream, a);
  } else {
    constexpr int kRows = kThreads / kWarp;
    launch(normalise<T, kWarp>, dim3{blocks_of(a.rows, kRows)}, dim3{kWarp, kRows}, 0, stream, a);
  }
}

}  // namespace

template <class T>
void rms_norm(const T* x, const T* weight, double eps, T* out, float* rstd, int64_t rows, int64_t d,
              Stream stream) {
  add_rms_norm<T>(x, nullptr, weight, eps, nullptr, out, rstd, rows, d, stream);
}

template <class T>
void rms_norm_again(const T* x, const T* weight, const float* rstd, T* out, int64_t rows, int64_t d,
                    Stream stream) {
  run(Forward<T>{.x = x,
                 .residual = nullptr,
                 .weight = weight,
                 .eps = 0,
                 .sum = nullptr,
                 .out = out,
                 .rstd = const_cast<float*>(rstd),
                 .rows = rows,
                 .d = d,
                 .again = true,
                 .wide = is_wide(d, x, weight, out)},
      stream);
}

template <class T>
void add_rms_norm(const T* x, const T* residual, const T* weight, double eps, T* sum, T* out,
                  float* rstd, int64_t rows, int64_t d, Stream stream) {
  run(Forward<T>{.x = x,
                 .residual = residual,
                 .weight = weight,
                 .eps = static_cast<float>(eps),
                 .sum = sum,
                 .out = out,
                 .rstd = rstd,
                 .rows = rows,
                 .d = d,
                 .again = false,
                 .wide = is_wide(d, x, residual, weight, sum, out)},
      stream);
}

int64_t rms_norm_workspace(int64_t d) { return kGroups * d; }

template <class T>
void rms_norm_backward(const T* dout, const T* x, const T* weight, const float* rstd,
                       bool accumulate, T* dx, float* dweight, float* workspace, int64_t rows,
                       int64_t d, Stream stream) {
  if (rows == 0) return;
  const bool wide = is_wide(d, dout, x, weight, dx);
  const int64_t groups = rows < kGroups ? rows : kGroups;
  const Backward<T> a = {.dout = dout,
                         .x = x,
                         .weight = weight,
                         .rstd = rstd,
                         .accumulate = accumulate,
                         .dx = dx,
                         .parts = workspace,
                         .groups = groups,
                         .rows = rows,
                         .d = d,
                         .wide = wide};
  const auto row_bytes = static_cast<size_t>(d) * sizeof(float);
  if (d > kShortRow) {
    launch(normalise_backward<T, kThreads>, dim3{blocks_of(groups, 1)}, dim3{kThreads}, row_bytes,
           stream, a);
  } else {
    constexpr int kRows = kThreads / kWarp;
    launch(normalise_backward<T, kWarp>, dim3{blocks_of(groups, 1)}, dim3{kWarp, kRows},
           kRows * row_bytes, stream, a);
  }
  launch(add_parts, dim3{blocks_of(d, kReduceThreads)}, dim3{kReduceThreads}, 0, stream, workspace,
         groups, dweight, d);
}

#define RONDO_INSTANTIATE(T)                                                                       \
  template void rms_norm<T>(const T*, const T*, double, T*, float*, int64_t, int64_t, Stream);     \
  template void rms_norm_again<T>(const T*, const T*, const float*, T*, int64_t, int64_t, Stream); \
  template void add_rms_norm<T>(const T*, const T*, const T*, double, T*, T*, float*, int64_t,     \
                                int64_t, Stream);                                                  \
  template void rms_norm_backward<T>(const T*, const T*, const T*, const float*, bool, T*, float*, \
                                     float*, int64_t, int64_t, Stream);
RONDO_INSTANTIATE(float)
RONDO_INSTANTIATE(Bf16)

}  // namespace rondo::kernels::cuda

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.hpp"

namespace rondo::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    look_up(const T* table, const int32_t* tokens, T* out, int64_t first_id, int64_t ids, int64_t d,
            bool wide) {
  const int64_t row = blockIdx.x;
  const int64_t id = tokens[row] - first_id;
  const bool known = id >= 0 && id < ids;
  for_each_of<T>(d, wide, threadIdx.x, kThreads, [&](int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    float values[kSize] = {};
    if (known) load<kSize>(table + id * d + i, values);
    store<kSize>(values, out + row * d + i);
  });
}

// A block adds up one group of rows for some of the columns, in the order of the group.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_groups(const T* dout, const int32_t* order, const int32_t* begins, const int32_t* ids,
               float* dtable, int64_t d, bool wide) {
  const int64_t group = blockIdx.x;
  const int64_t mine = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  for_each_of<T>(d, wide, mine, int64_t{gridDim.y} * kThreads, [&](int64_t i, auto width) {
    constexpr int kSize = decltype(width)::kCount;
    float sums[kSize] = {};
    for (int32_t at = begins[group]; at < begins[group + 1]; ++at) {
      float values[kSize];
      load<kSize>(dout + int64_t{order[at]} * d + i, values);
      for (int k = 0; k < kSize; ++k) sums[k] += values[k];
    }
    for (int k = 0; k < kSize; ++k) dtable[int64_t{ids[group]} * d + i + k] += sums[k];
  });
}

}  // namespace

template <class T>
void embed(const T* table, const int32_t* tokens, T* out, int64_t first_id, int64_t ids,
           int64_t rows, int64_t d, Stream stream) {
  if (rows == 0) return;
  const bool wide = is_wide(d, table, out);
  launch(look_up<T>, dim3{blocks_of(rows, 1)}, dim3{kThreads}, 0, stream, table, tokens, out,
         first_id, ids, d, wide);
}

template <class T>
void embed_backward(const T* dout, const int32_t* order, const int32_t* begins, const int32_t* ids,
                    int64_t groups, float* dtable, int64_t d, Stream stream) {
  if (groups == 0) return;
  const bool wide = is_wide(d, dout);
  const unsigned columns = blocks_of(d, int64_t{kThreads} * Vector<T>::kSize);
  launch(add_groups<T>, dim3{blocks_of(groups, 1), columns}, dim3{kThreads}, 0, stream, dout, order,
         begins, ids, dtable, d, wide);
}

#define RONDO_INSTANTIATE(T)                                                                \
  template void embed<T>(const T*, const int32_t*, T*, int64_t, int64_t, int64_t, int64_t,  \
                         Stream);                                                           \
  template void embed_backward<T>(const T*, const int32_t*, const int32_t*, const int32_t*, \
                                  int64_t, float*, int64_t, Stream);
RONDO_INSTANTIATE(float)
RONDO_INSTANTIATE(Bf16)

}  // namespace rondo::kernels::cuda

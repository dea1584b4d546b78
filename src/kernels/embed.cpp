#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "base/slice.hpp"
#include "kernels/buffers.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd.hpp"

namespace rondo::kernels {

namespace {

// As the public functions, on the CPU.
template <class T>
void look_up(const at::Tensor& table_vd, const at::Tensor& tokens_t, at::Tensor& out_td,
             int64_t first_id) {
  const int64_t v = table_vd.size(0);
  const int64_t d = table_vd.size(1);
  const int64_t rows = tokens_t.numel();
  const T* table = input<T>(table_vd);
  const int32_t* tokens = input<int32_t>(tokens_t);
  T* out = output<T>(out_td);
  at::parallel_for(0, rows, grain_of(d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t id = tokens[row] - first_id;
      if (id >= 0 && id < v) {
        std::memcpy(out + row * d, table + id * d, static_cast<size_t>(d) * sizeof(T));
      } else {
        std::fill_n(out + row * d, d, T(0));
      }
    }
  });
}

template <class T>
void add_rows(const at::Tensor& dout_td, const at::Tensor& tokens_t, at::Tensor& dtable_vd,
              int64_t first_id) {
  const int64_t v = dtable_vd.size(0);
  const int64_t d = dtable_vd.size(1);
  const int64_t rows = tokens_t.numel();
  const T* dout = input<T>(dout_td);
  const int32_t* tokens = input<int32_t>(tokens_t);
  float* dtable = output(dtable_vd);
  // A token may occur many times: threads share the columns, each adds all rows in order.
  constexpr int64_t kColumns = 64;
  at::parallel_for(0, base::ceil_div(d, kColumns), 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kColumns;
    const int64_t width = std::min(d, end * kColumns) - first;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t id = tokens[row] - first_id;
      if (id < 0 || id >= v) continue;
      const T* from = dout + row * d + first;
      float* to = dtable + id * d + first;
      by_eights(width, [&](int64_t i, auto lanes) {
        (Float8::load(to + i, lanes) + Float8::load(from + i, lanes)).store(to + i, lanes);
      });
    }
  });
}

}  // namespace

void embed(const at::Tensor& table_vd, const at::Tensor& tokens_t, at::Tensor& out_td,
           int64_t first_id) {
  RONDO_CHECK(out_td.numel() == tokens_t.numel() * table_vd.size(1));
  if (device::serves(out_td)) return device::embed(table_vd, tokens_t, out_td, first_id);
  by_type(out_td, [&](auto t) { look_up<decltype(t)>(table_vd, tokens_t, out_td, first_id); });
}

void embed_backward(const at::Tensor& dout_td, const at::Tensor& tokens_t, at::Tensor& dtable_vd,
                    int64_t first_id) {
  RONDO_CHECK(dout_td.numel() == tokens_t.numel() * dtable_vd.size(1));
  if (device::serves(dout_td)) {
    return device::embed_backward(dout_td, tokens_t, dtable_vd, first_id);
  }
  by_type(dout_td, [&](auto t) { add_rows<decltype(t)>(dout_td, tokens_t, dtable_vd, first_id); });
}

}  // namespace rondo::kernels

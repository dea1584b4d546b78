#include <ATen/ops/empty.h>

#include "kernels/cuda/kernels.hpp"
#include "kernels/device.hpp"
#include "kernels/device/pointers.hpp"

namespace rondo::kernels::device {

void rms_norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
              at::Tensor& rstd_t) {
  by_element(x_td, [&](auto t) {
    using T = decltype(t);
    cuda::rms_norm<T>(in<T>(x_td), in<T>(weight_d), eps, out<T>(out_td), out<float>(rstd_t),
                      rstd_t.numel(), weight_d.numel(), stream_of(x_td));
  });
}

void rms_norm_again(const at::Tensor& x_td, const at::Tensor& weight_d, const at::Tensor& rstd_t,
                    at::Tensor& out_td) {
  by_element(x_td, [&](auto t) {
    using T = decltype(t);
    cuda::rms_norm_again<T>(in<T>(x_td), in<T>(weight_d), in<float>(rstd_t), out<T>(out_td),
                            rstd_t.numel(), weight_d.numel(), stream_of(x_td));
  });
}

void add_rms_norm(const at::Tensor& x_td, const at::Tensor& residual_td, const at::Tensor& weight_d,
                  double eps, at::Tensor& sum_td, at::Tensor& out_td, at::Tensor& rstd_t) {
  by_element(x_td, [&](auto t) {
    using T = decltype(t);
    cuda::add_rms_norm<T>(in<T>(x_td), in<T>(residual_td), in<T>(weight_d), eps, out<T>(sum_td),
                          out<T>(out_td), out<float>(rstd_t), rstd_t.numel(), weight_d.numel(),
                          stream_of(x_td));
  });
}

void rms_norm_backward(const at::Tensor& dout_td, const at::Tensor& x_td,
                       const at::Tensor& weight_d, const at::Tensor& rstd_t, bool accumulate,
                       at::Tensor& dx_td, at::Tensor& dweight_d) {
  const int64_t d = weight_d.numel();
  const at::Tensor workspace = at::empty({cuda::rms_norm_workspace(d)}, rstd_t.options());
  by_element(x_td, [&](auto t) {
    using T = decltype(t);
    cuda::rms_norm_backward<T>(in<T>(dout_td), in<T>(x_td), in<T>(weight_d), in<float>(rstd_t),
                               accumulate, out<T>(dx_td), out<float>(dweight_d),
                               out<float>(workspace), rstd_t.numel(), d, stream_of(x_td));
  });
}

}  // namespace rondo::kernels::device

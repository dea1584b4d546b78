#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "kernels/cuda/kernels.hpp"
#include "kernels/device.hpp"
#include "kernels/device/pointers.hpp"

namespace rondo::kernels::device {

void adamw(const AdamStep& step, const at::Tensor& grads, at::Tensor& weights, at::Tensor& m,
           at::Tensor& v) {
  const at::Tensor scale = at::full({1}, step.grad_scale, grads.options());
  by_element(m, [&](auto t) {
    using M = decltype(t);
    cuda::adamw<M>({.lr = step.lr,
                    .beta1 = step.beta1,
                    .beta2 = step.beta2,
                    .eps = step.eps,
                    .weight_decay = step.weight_decay,
                    .step = step.step,
                    .noise_key = step.noise_key,
                    .first = step.first},
                   in<float>(grads), in<float>(scale), out<float>(weights), out<M>(m), out<M>(v),
                   nullptr, weights.numel(), stream_of(weights));
  });
}

at::Tensor squared_norms(std::span<const at::Tensor> flat) {
  const auto doubles = flat.front().options().dtype(at::kDouble);
  int64_t most = 0;
  for (const at::Tensor& values : flat) most = std::max(most, values.numel());
  const at::Tensor sums = at::empty({std::ssize(flat)}, doubles);
  const at::Tensor workspace = at::empty({cuda::squared_norm_workspace(most)}, doubles);
  for (size_t i = 0; i < flat.size(); ++i) {
    cuda::squared_norm(in<float>(flat[i]), flat[i].numel(), out<double>(workspace),
                       out<double>(sums) + i, stream_of(sums));
  }
  return sums;
}

}  // namespace rondo::kernels::device

#include "kernels/device/step/emulated_device.hpp"

#include <ATen/ATen.h>

#include "kernels/device.hpp"
#include "kernels/device/pointers.hpp"

namespace rondo {

namespace {

bool on_device = false;

}  // namespace

void test::use_emulated_device(bool on) { on_device = on; }

namespace kernels::device {

bool serves(const at::Tensor& /*tensor*/) { return on_device; }

cuda::Stream stream_of(const at::Tensor& /*tensor*/) { return nullptr; }

// ATen adds no bfloat16 products to float32 on the CPU.
void matmul(const at::Tensor& a, const at::Tensor& b, at::Tensor& out, bool accumulate) {
  const at::Tensor product = at::mm(a.to(at::kFloat), b.to(at::kFloat));
  accumulate ? out.add_(product) : out.copy_(product);
}

}  // namespace kernels::device
}  // namespace rondo

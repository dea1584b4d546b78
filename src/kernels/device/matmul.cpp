#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

#include "kernels/device.hpp"

namespace rondo::kernels::device {

// cuBLAS by way of ATen. A bfloat16 product that is added to float32 is added up in float32 all
// the way (`out_dtype`).
void matmul(const at::Tensor& a, const at::Tensor& b, at::Tensor& out, bool accumulate) {
  const bool widens = out.scalar_type() != a.scalar_type();
  if (accumulate && widens) {
    at::addmm_out(out, out, a, b, out.scalar_type());
  } else if (accumulate) {
    at::addmm_out(out, out, a, b);
  } else if (widens) {
    at::mm_out(out, a, b, out.scalar_type());
  } else {
    at::mm_out(out, a, b);
  }
}

}  // namespace rondo::kernels::device

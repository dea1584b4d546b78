// How far two tensors are apart.
#pragma once

#include <ATen/ATen.h>

namespace rondo::test {

// |a - b|_2 / |b|_2 in float64, as the numerics contract defines the error of a tensor; the plain
// norm of a when b is zero.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor reference = b.to(at::kDouble);
  const double distance = (a.to(at::kDouble) - reference).norm().item<double>();
  const double size = reference.norm().item<double>();
  return size > 0 ? distance / size : distance;
}

}  // namespace rondo::test

// What every kernel asks of its tensors before it takes their pointers: float32 (or the stated
// type) and contiguous. A Bug otherwise.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "base/error.hpp"

namespace rondo::kernels {

template <class T>
const T* input(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.is_contiguous() && tensor.device().is_cpu());
  return tensor.const_data_ptr<T>();
}

template <class T = float>
T* output(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.is_contiguous() && tensor.device().is_cpu());
  return tensor.mutable_data_ptr<T>();
}

// Calls use(T()) with T the type of the tensor's elements: float or at::BFloat16.
template <class Use>
void by_type(const at::Tensor& tensor, Use&& use) {
  if (tensor.scalar_type() == at::kBFloat16) return use(at::BFloat16());
  RONDO_CHECK(tensor.scalar_type() == at::kFloat, "a tensor of {}",
              at::toString(tensor.scalar_type()));
  use(float());
}

// Rows that one task should take at least, so that it is worth a thread (about 32 Ki elements).
inline int64_t grain_of(int64_t width) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, width));
}

}  // namespace rondo::kernels

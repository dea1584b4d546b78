// From tensors on a device to the pointers and the stream that kernels/cuda takes.
#pragma once

#include <ATen/core/Tensor.h>

#include <type_traits>

#include "base/error.hpp"
#include "kernels/cuda/types.hpp"

namespace rondo::kernels::device {

// The current CUDA stream of the tensor's device.
cuda::Stream stream_of(const at::Tensor& tensor);

// The type of cuda::Bf16 is that of at::BFloat16 to torch.
template <class T>
using Element = std::conditional_t<std::is_same_v<T, cuda::Bf16>, at::BFloat16, T>;

template <class T>
const T* in(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.is_contiguous());
  return reinterpret_cast<const T*>(tensor.const_data_ptr<Element<T>>());
}
template <class T>
T* out(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.is_contiguous());
  return reinterpret_cast<T*>(tensor.mutable_data_ptr<Element<T>>());
}

// Calls use(T()) with T the type of the tensor's elements: float or cuda::Bf16.
template <class Use>
void by_element(const at::Tensor& tensor, Use&& use) {
  if (tensor.scalar_type() == at::kBFloat16) return use(cuda::Bf16());
  RONDO_CHECK(tensor.scalar_type() == at::kFloat, "a tensor of {}",
              at::toString(tensor.scalar_type()));
  use(float());
}

}  // namespace rondo::kernels::device

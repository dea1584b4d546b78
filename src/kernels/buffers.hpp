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

inline float* output(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.is_contiguous() && tensor.device().is_cpu());
  return tensor.mutable_data_ptr<float>();
}

// Rows that one task should take at least, so that it is worth a thread (about 32 Ki elements).
inline int64_t grain_of(int64_t width) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, width));
}

}  // namespace rondo::kernels

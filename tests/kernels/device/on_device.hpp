// What the tests of GPU kernels share: tensors where the kernels run, at any alignment. Built
// twice: with the emulation of tests/kernels/emulation (RONDO_EMULATED), and for a GPU.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <type_traits>

#include "kernels/cuda/kernels.hpp"
#include "kernels/numbers.hpp"

namespace rondo::test {

using kernels::cuda::Bf16;

template <class T>
constexpr at::ScalarType scalar_type() {
  if constexpr (std::is_same_v<T, Bf16>) return at::kBFloat16;
  if constexpr (std::is_same_v<T, float>) return at::kFloat;
  if constexpr (std::is_same_v<T, double>) return at::kDouble;
  if constexpr (std::is_same_v<T, int32_t>) return at::kInt;
  if constexpr (std::is_same_v<T, int64_t>) return at::kLong;
}

// What most kernels take.
using DeviceTypes = ::testing::Types<float, Bf16>;

inline at::Device device() {
#ifdef RONDO_EMULATED
  return at::kCPU;
#else
  return at::kCUDA;
#endif
}

// A copy of a tensor as T where kernels run, `shift` elements behind an address of 64 bytes.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const at::Tensor& values, int64_t shift = 0)
      : tensor_(at::empty({values.numel() + shift},
                          at::TensorOptions(scalar_type<T>()).device(device()))
                    .narrow(0, shift, values.numel())
                    .view(values.sizes())) {
    tensor_.copy_(values);
  }
  // Filled with what shows when it is not written.
  OnDevice(std::vector<int64_t> sizes, int64_t shift = 0) : OnDevice(unwritten(sizes), shift) {}

  T* data() { return static_cast<T*>(tensor_.mutable_data_ptr()); }
  // On the host; as float where it is bf16.
  at::Tensor get() const {
    const at::Tensor host = tensor_.cpu();
    return std::is_same_v<T, Bf16> ? host.to(at::kFloat) : host.clone();
  }

 private:
  at::Tensor tensor_;
};

// Values that T holds exactly, as float.
template <class T>
at::Tensor rounded(const at::Tensor& values) {
  return values.to(scalar_type<T>()).to(at::kFloat);
}

// |a - b| / |b| of results: sums in another order, and with bf16 the rounding of each (2^-8 at
// most).
template <class T>
constexpr double bound() {
  return std::is_same_v<T, Bf16> ? 4e-3 : 2e-6;
}

}  // namespace rondo::test

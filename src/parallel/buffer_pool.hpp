// Flat buffers that are taken and given back over and over, so that a step after the first
// allocates nothing. One per model and rank.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace rondo::parallel {

class BufferPool {
 public:
  explicit BufferPool(at::Device device = at::kCPU) : device_(device) {}

  // A buffer of `numel` elements with any contents.
  at::Tensor take(int64_t numel, at::ScalarType type = at::kFloat);
  void give(at::Tensor buffer);
  // Of all buffers ever made, taken or not.
  int64_t bytes() const { return bytes_; }

 private:
  at::Device device_;
  std::map<std::pair<at::ScalarType, int64_t>, std::vector<at::Tensor>> free_;
  int64_t bytes_ = 0;
};

}  // namespace rondo::parallel

// Flat float32 buffers that are taken and given back over and over, so that a step after the first
// allocates nothing. One per model and rank.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

namespace rondo::parallel {

class BufferPool {
 public:
  // A buffer of `numel` elements with any contents.
  at::Tensor take(int64_t numel);
  void give(at::Tensor buffer);
  // Of all buffers ever made, taken or not.
  int64_t bytes() const { return bytes_; }

 private:
  std::map<int64_t, std::vector<at::Tensor>> free_;  // by number of elements
  int64_t bytes_ = 0;
};

}  // namespace rondo::parallel

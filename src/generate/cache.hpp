// Keys (after rope) and values of the sequences being generated, for every layer.
//
// A fixed number of slots, each of which holds one sequence of at most max_length tokens: memory is
// bounded by what bytes() says. Memory is taken from the system as sequences grow into it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/shape.hpp"

namespace rondo::generate {

class Cache {
 public:
  Cache(const model::Shape& shape, int64_t slots, int64_t max_length);
  static int64_t bytes(const model::Shape& shape, int64_t slots, int64_t max_length);

  // [slots, kv_heads, max_length, head_width] of one layer.
  const at::Tensor& keys(int64_t layer) const { return keys_.at(static_cast<size_t>(layer)); }
  const at::Tensor& values(int64_t layer) const { return values_.at(static_cast<size_t>(layer)); }

  // Copies keys and values of `count` rows of qkv (see kernels::attention), from row `row` on, to
  // positions [position, position + count) of the slot.
  void store(int64_t layer, int64_t slot, int64_t position, const at::Tensor& qkv, int64_t row,
             int64_t count);

 private:
  model::Shape shape_;
  int64_t max_length_;
  std::vector<at::Tensor> keys_, values_;
};

}  // namespace rondo::generate

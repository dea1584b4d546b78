#include "generate/cache.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/error.hpp"
#include "kernels/buffers.hpp"

namespace rondo::generate {

Cache::Cache(const model::Shape& shape, int64_t slots, int64_t max_length)
    : shape_(shape), max_length_(max_length) {
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::vector<int64_t> sizes = {slots, shape.kv_heads, max_length, shape.head_width};
    keys_.push_back(at::empty(sizes, at::kFloat));
    values_.push_back(at::empty(sizes, at::kFloat));
  }
}

int64_t Cache::bytes(const model::Shape& shape, int64_t slots, int64_t max_length) {
  return 2 * shape.layers * slots * max_length * shape.kv_width() * 4;
}

void Cache::store(int64_t layer, int64_t slot, int64_t position, const at::Tensor& qkv, int64_t row,
                  int64_t count) {
  RONDO_CHECK(position >= 0 && position + count <= max_length_, "{} + {} of {}", position, count,
              max_length_);
  RONDO_CHECK(row >= 0 && row + count <= qkv.size(0) && qkv.size(1) == shape_.qkv_width());
  const int64_t width = shape_.head_width;
  const float* rows = kernels::input<float>(qkv) + row * shape_.qkv_width() + shape_.q_width();
  float* keys_to = kernels::output(keys(layer));
  float* values_to = kernels::output(values(layer));
  for (int64_t head = 0; head < shape_.kv_heads; ++head) {
    const int64_t first = ((slot * shape_.kv_heads + head) * max_length_ + position) * width;
    for (int64_t i = 0; i < count; ++i) {
      const float* from = rows + i * shape_.qkv_width() + head * width;
      std::copy_n(from, width, keys_to + first + i * width);
      std::copy_n(from + shape_.kv_width(), width, values_to + first + i * width);
    }
  }
}

}  // namespace rondo::generate

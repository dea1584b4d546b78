#include "parallel/buffer_pool.hpp"

#include <ATen/ops/empty.h>

#include <utility>

namespace rondo::parallel {

at::Tensor BufferPool::take(int64_t numel, at::ScalarType type) {
  auto& free = free_[{type, numel}];
  if (free.empty()) {
    const at::Tensor made = at::empty({numel}, at::TensorOptions(type).device(device_));
    bytes_ += static_cast<int64_t>(made.nbytes());
    return made;
  }
  at::Tensor buffer = std::move(free.back());
  free.pop_back();
  return buffer;
}

void BufferPool::give(at::Tensor buffer) {
  auto& free = free_[{buffer.scalar_type(), buffer.numel()}];
  free.push_back(std::move(buffer));
}

}  // namespace rondo::parallel

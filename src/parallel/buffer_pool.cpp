#include "parallel/buffer_pool.hpp"

#include <ATen/ops/empty.h>

#include <utility>

namespace rondo::parallel {

at::Tensor BufferPool::take(int64_t numel) {
  auto& free = free_[numel];
  if (free.empty()) {
    bytes_ += numel * 4;
    return at::empty({numel}, at::kFloat);
  }
  at::Tensor buffer = std::move(free.back());
  free.pop_back();
  return buffer;
}

void BufferPool::give(at::Tensor buffer) { free_[buffer.numel()].push_back(std::move(buffer)); }

}  // namespace rondo::parallel

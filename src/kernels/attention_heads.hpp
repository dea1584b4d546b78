// Where heads lie in qkv and out, and which tasks attention is cut into.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "kernels/kernels.hpp"

namespace rondo::kernels {

// A task is one key/value head of one document; no two tasks write to the same place, and each does
// its work in one order, so results do not depend on how tasks are spread over threads.
struct AttentionHeads {
  AttentionShape shape;

  int64_t group() const { return shape.heads / shape.kv_heads; }
  int64_t qkv_row() const { return (shape.heads + 2 * shape.kv_heads) * shape.head_width; }
  int64_t out_row() const { return shape.heads * shape.head_width; }
  int64_t query(int64_t row, int64_t head) const {
    return row * qkv_row() + head * shape.head_width;
  }
  int64_t key(int64_t row, int64_t kv_head) const { return query(row, shape.heads + kv_head); }
  int64_t value(int64_t row, int64_t kv_head) const {
    return query(row, shape.heads + shape.kv_heads + kv_head);
  }
  int64_t out(int64_t row, int64_t head) const { return row * out_row() + head * shape.head_width; }
  float scale() const {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_width)));
  }
  int64_t tasks(const PackedLayout& layout) const {
    return static_cast<int64_t>(layout.documents.size()) * shape.kv_heads;
  }

  void check(const PackedLayout& layout, const at::Tensor& qkv, const at::Tensor& out,
             const at::Tensor& logsumexp) const {
    RONDO_CHECK(shape.kv_heads >= 1 && shape.heads % shape.kv_heads == 0 && shape.head_width >= 1,
                "{} heads on {} key/value heads of width {}", shape.heads, shape.kv_heads,
                shape.head_width);
    RONDO_CHECK(qkv.numel() == layout.rows * qkv_row() && out.numel() == layout.rows * out_row() &&
                logsumexp.numel() == layout.rows * shape.heads);
  }
};

// Calls use(rows) for each range of rows that belongs to no document.
template <class Use>
void for_padding(const PackedLayout& layout, Use&& use) {
  int64_t end_of_previous = 0;
  for (const base::Slice& document : layout.documents) {
    if (document.begin > end_of_previous) use(base::Slice{end_of_previous, document.begin});
    end_of_previous = document.end;
  }
  if (layout.rows > end_of_previous) use(base::Slice{end_of_previous, layout.rows});
}

}  // namespace rondo::kernels

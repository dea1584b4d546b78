#include "model/workspace.hpp"

#include <ATen/ATen.h>

#include <utility>

#include "base/slice.hpp"

namespace rondo::model {
namespace {

constexpr int64_t kAlignment = 128;  // elements: 512 bytes

// Cuts tensors from the start of an arena; without one it only counts.
class Cutter {
 public:
  explicit Cutter(const at::Tensor& arena) : arena_(arena) {}

  void cut(at::Tensor& out, at::IntArrayRef shape) {
    int64_t numel = 1;
    for (const int64_t dim : shape) numel *= dim;
    if (arena_.defined()) out = arena_.narrow(0, used_, numel).view(shape);
    used_ += base::round_up(numel, kAlignment);
  }
  int64_t used() const { return used_; }

 private:
  const at::Tensor& arena_;
  int64_t used_ = 0;
};

}  // namespace

void Workspace::prepare(const Shape& shape, int64_t rows, bool training) {
  if (rows == rows_ && training == training_) return;
  at::Tensor kept = std::exchange(arena_, {});
  const int64_t needed = lay_out(shape, rows, training);
  if (kept.defined() && kept.numel() >= needed) {
    arena_ = std::move(kept);
  } else {
    // All views of the old arena go first, so that the two never exist together.
    *this = Workspace();
    kept.reset();
    arena_ = at::empty({needed}, at::kFloat);
  }
  lay_out(shape, rows, training);
  rows_ = rows;
  training_ = training;
}

int64_t Workspace::lay_out(const Shape& shape, int64_t rows, bool training) {
  const int64_t t = rows;
  const int64_t d = shape.hidden;
  const int64_t f = shape.ffn;
  const int64_t c = shape.head_width;
  Cutter cutter(arena_);
  blocks_.resize(training ? static_cast<size_t>(shape.layers) : 1);
  for (BlockActivations& block : blocks_) {
    cutter.cut(block.x_td, {t, d});
    cutter.cut(block.attention_rstd_t, {t});
    cutter.cut(block.attention_in_td, {t, d});
    cutter.cut(block.qkv, {t, shape.qkv_width()});
    cutter.cut(block.attention_out, {t, shape.q_width()});
    cutter.cut(block.logsumexp_ht, {shape.heads, t});
    cutter.cut(block.x_mid_td, {t, d});
    cutter.cut(block.mlp_rstd_t, {t});
    cutter.cut(block.mlp_in_td, {t, d});
    cutter.cut(block.gate_up_t2f, {t, 2 * f});
    if (!shape.qk_norm) continue;
    cutter.cut(block.qk_norm.q_in, {t * shape.heads, c});
    cutter.cut(block.qk_norm.k_in, {t * shape.kv_heads, c});
    cutter.cut(block.qk_norm.q_rstd, {t * shape.heads});
    cutter.cut(block.qk_norm.k_rstd, {t * shape.kv_heads});
  }
  cutter.cut(delta_td, {t, d});
  cutter.cut(act_tf, {t, f});
  cutter.cut(final_x_td, {t, d});
  cutter.cut(final_rstd_t, {t});
  cutter.cut(final_out_td, {t, d});
  QkNormBuffers scratch;
  if (shape.qk_norm) {
    cutter.cut(scratch.q_out, {t * shape.heads, c});
    cutter.cut(scratch.k_out, {t * shape.kv_heads, c});
  }
  if (training) {
    cutter.cut(dx_td, {t, d});
    cutter.cut(dbranch_td, {t, d});
    cutter.cut(dattention, {t, shape.q_width()});
    cutter.cut(dqkv, {t, shape.qkv_width()});
    if (shape.qk_norm) {
      cutter.cut(scratch.q_grad, {t * shape.heads, c});
      cutter.cut(scratch.k_grad, {t * shape.kv_heads, c});
    }
  }
  for (BlockActivations& block : blocks_) {
    block.qk_norm.q_out = scratch.q_out;
    block.qk_norm.k_out = scratch.k_out;
    block.qk_norm.q_grad = scratch.q_grad;
    block.qk_norm.k_grad = scratch.k_grad;
  }
  return cutter.used();
}

}  // namespace rondo::model

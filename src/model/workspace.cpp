#include "model/workspace.hpp"

#include <ATen/ATen.h>

#include <utility>

#include "base/error.hpp"
#include "base/slice.hpp"

namespace rondo::model {
namespace {

constexpr int64_t kAlignment = 512;  // bytes

// Cuts tensors from the start of an arena; without one it only counts.
class Cutter {
 public:
  Cutter(const at::Tensor& arena, at::ScalarType type) : arena_(arena), type_(type) {}

  // Of activations.
  void cut(at::Tensor& out, at::IntArrayRef shape) { cut(out, shape, type_); }
  // Of statistics.
  void cut_floats(at::Tensor& out, at::IntArrayRef shape) { cut(out, shape, at::kFloat); }
  int64_t used() const { return used_; }

 private:
  void cut(at::Tensor& out, at::IntArrayRef shape, at::ScalarType type) {
    auto bytes = static_cast<int64_t>(c10::elementSize(type));
    for (const int64_t dim : shape) bytes *= dim;
    if (arena_.defined()) out = arena_.narrow(0, used_, bytes).view(type).view(shape);
    used_ += base::round_up(bytes, kAlignment);
  }

  const at::Tensor& arena_;
  at::ScalarType type_;
  int64_t used_ = 0;
};

}  // namespace

void Workspace::prepare(const WorkspaceSize& size) {
  if (size == size_) return;
  RONDO_CHECK(size.rows % size.tensor == 0);
  at::Tensor kept = std::exchange(arena_, {});
  if (kept.defined() && kept.device().type() != size.device.type()) kept.reset();
  const int64_t needed = lay_out(size);
  if (kept.defined() && kept.numel() >= needed) {
    arena_ = std::move(kept);
  } else {
    // All views of the old arena go first, so that the two never exist together.
    *this = Workspace();
    kept.reset();
    arena_ = at::empty({needed}, at::TensorOptions(at::kByte).device(size.device));
  }
  lay_out(size);
  size_ = size;
}

int64_t Workspace::lay_out(const WorkspaceSize& size) {
  using What = Recompute::What;
  const Shape& shape = size.shape;
  const int64_t t = size.rows;
  const int64_t s = size.rows / size.tensor;
  const int64_t d = shape.hidden;
  const int64_t f = shape.ffn;
  const int64_t c = shape.head_width;
  const bool parallel = size.tensor > 1;
  Cutter cutter(arena_, size.type);
  const int64_t blocks = size.training ? shape.layers : 1;
  blocks_.assign(static_cast<size_t>(blocks), {});

  // `mine` is cut for one block, or once for all that recompute it.
  const auto cut_norms = [&](BlockActivations& mine) {
    cutter.cut(mine.attention_in_sd, {s, d});
    cutter.cut(mine.mlp_in_sd, {s, d});
  };
  const auto cut_attention = [&](BlockActivations& mine) {
    cutter.cut(mine.qkv, {t, shape.qkv_width()});
    cutter.cut(mine.attention_out, {t, shape.q_width()});
    cutter.cut_floats(mine.logsumexp_ht, {shape.heads, t});
    if (!shape.qk_norm) return;
    cutter.cut(mine.qk_norm.q_in, {t * shape.heads, c});
    cutter.cut(mine.qk_norm.k_in, {t * shape.kv_heads, c});
    cutter.cut_floats(mine.qk_norm.q_rstd, {t * shape.heads});
    cutter.cut_floats(mine.qk_norm.k_rstd, {t * shape.kv_heads});
  };
  const auto cut_rest = [&](BlockActivations& mine) {
    cutter.cut_floats(mine.attention_rstd_s, {s});
    cutter.cut(mine.x_mid_sd, {s, d});
    cutter.cut_floats(mine.mlp_rstd_s, {s});
    cutter.cut(mine.gate_up_t2f, {t, 2 * f});
  };
  BlockActivations shared;
  const auto recomputes = [&](int64_t layer, What what) {
    return size.training && size.recompute.of(layer, blocks, what);
  };
  if (recomputes(0, What::kNorms)) cut_norms(shared);
  if (recomputes(0, What::kAttention)) cut_attention(shared);
  if (recomputes(0, What::kBlock)) cut_rest(shared);
  for (int64_t layer = 0; layer < blocks; ++layer) {
    BlockActivations& block = blocks_[static_cast<size_t>(layer)];
    block = recomputes(layer, What::kNorms) ? shared : BlockActivations();
    cutter.cut(block.x_sd, {s, d});
    if (!recomputes(layer, What::kNorms)) cut_norms(block);
    if (!recomputes(layer, What::kAttention)) cut_attention(block);
    if (!recomputes(layer, What::kBlock)) cut_rest(block);
  }

  cutter.cut(delta_td, {t, d});
  cutter.cut(act_tf, {t, f});
  cutter.cut(final_x_sd, {s, d});
  cutter.cut_floats(final_rstd_s, {s});
  cutter.cut(final_out_sd, {s, d});
  if (parallel) {
    cutter.cut(delta_sd, {s, d});
    cutter.cut(gathered_td, {t, d});
  }
  QkNormBuffers scratch;
  if (shape.qk_norm) {
    cutter.cut(scratch.q_out, {t * shape.heads, c});
    cutter.cut(scratch.k_out, {t * shape.kv_heads, c});
  }
  if (size.training) {
    cutter.cut(dx_sd, {s, d});
    cutter.cut(dbranch_td, {t, d});
    cutter.cut(dattention, {t, shape.q_width()});
    cutter.cut(dqkv, {t, shape.qkv_width()});
    if (parallel) {
      cutter.cut(dx_td, {t, d});
      cutter.cut(dbranch_sd, {s, d});
    }
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

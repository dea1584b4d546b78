#include "model/model.hpp"

#include <ATen/ATen.h>

#include <bit>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "model/weights.hpp"
#include "model/workspace.hpp"

namespace rondo::model {

Model::Model(Shape shape, comm::Group& group, bool with_optimizer)
    : shape_(shape), workspace_(std::make_unique<Workspace>()) {
  shape_.validate("model");
  for (UnitPlan& plan : unit_plans(shape_)) {
    units_.emplace_back(plan.name, std::move(plan.parameters), group, with_optimizer);
  }
  const parallel::Unit& first = units_.front();
  const parallel::Unit& last = units_.back();
  embedding_vd_ = first.weight(0);
  final_norm_d_ = last.weight(0);
  head_vd_ = shape_.tied ? embedding_vd_ : last.weight(1);
  for (size_t i = 1; i + 1 < units_.size(); ++i) {
    blocks_.push_back(block_weights(units_[i], shape_));
  }
  if (!with_optimizer) return;
  embedding_grad_vd_ = first.grad(0);
  final_norm_grad_d_ = last.grad(0);
  head_grad_vd_ = shape_.tied ? embedding_grad_vd_ : last.grad(1);
  for (size_t i = 1; i + 1 < units_.size(); ++i) grads_.push_back(block_grads(units_[i], shape_));
}

Model::~Model() = default;

void Model::initialise(uint64_t seed) {
  for (parallel::Unit& unit : units_) unit.initialise(seed);
}

void Model::zero_grad() {
  for (parallel::Unit& unit : units_) unit.zero_grad();
}

const RopeTable& Model::rope(int64_t positions) {
  shape_.check_length(positions, "a document's length");
  if (positions > rope_.positions()) {
    // Doubling, so that a decoding loop that asks for one more each time stays linear.
    const auto doubled = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(positions)));
    rope_ = RopeTable::make(shape_, std::min(shape_.max_seq, doubled));
  }
  return rope_;
}

void Model::run_blocks(const at::Tensor& tokens, const kernels::PackedLayout& layout,
                       bool training) {
  RONDO_CHECK(tokens.numel() == layout.rows, "{} tokens, {} rows", tokens.numel(), layout.rows);
  const RopeTable& table = rope(std::max<int64_t>(layout.longest, 1));
  workspace_->prepare(shape_, layout.rows, training);
  Workspace& w = *workspace_;
  const double eps = shape_.norm_eps;

  kernels::embed(embedding_vd_, tokens, w.block(0).x_td);
  for (int64_t layer = 0; layer < shape_.layers; ++layer) {
    const BlockWeights& weights = block(layer);
    BlockActivations& a = w.block(layer);

    if (layer == 0) {
      kernels::rms_norm(a.x_td, weights.attention_norm_d, eps, a.attention_in_td,
                        a.attention_rstd_t);
    } else {
      kernels::add_rms_norm(w.block(layer - 1).x_mid_td, w.delta_td, weights.attention_norm_d, eps,
                            a.x_td, a.attention_in_td, a.attention_rstd_t);
    }
    project_qkv(weights, shape_, table, a.attention_in_td, layout.positions, a.qk_norm, a.qkv,
                poll_);
    kernels::attention(a.qkv, attention_shape(shape_), layout, a.attention_out, a.logsumexp_ht);
    poll_();
    kernels::matmul_nt(a.attention_out, weights.o, w.delta_td, {.poll = poll_});

    kernels::add_rms_norm(a.x_td, w.delta_td, weights.mlp_norm_d, eps, a.x_mid_td, a.mlp_in_td,
                          a.mlp_rstd_t);
    project_mlp(weights, a.mlp_in_td, a.gate_up_t2f, w.act_tf, w.delta_td, poll_);
  }
  kernels::add_rms_norm(w.block(shape_.layers - 1).x_mid_td, w.delta_td, final_norm_d_, eps,
                        w.final_x_td, w.final_out_td, w.final_rstd_t);
}

void Model::backward_block(int64_t layer, const kernels::PackedLayout& layout) {
  const BlockWeights& weights = block(layer);
  BlockGrads& grads = grads_[static_cast<size_t>(layer)];
  Workspace& w = *workspace_;
  BlockActivations& a = w.block(layer);

  project_mlp_backward(weights, w.dx_td, a.mlp_in_td, a.gate_up_t2f, w.act_tf, grads, w.dbranch_td,
                       poll_);
  kernels::rms_norm_backward(w.dbranch_td, a.x_mid_td, weights.mlp_norm_d, a.mlp_rstd_t, true,
                             w.dx_td, grads.mlp_norm_d);

  kernels::matmul_tn(w.dx_td, a.attention_out, grads.o, {.accumulate = true, .poll = poll_});
  kernels::matmul_nn(w.dx_td, weights.o, w.dattention, {.poll = poll_});
  kernels::attention_backward(w.dattention, a.qkv, a.attention_out, a.logsumexp_ht,
                              attention_shape(shape_), layout, w.dqkv);
  poll_();
  project_qkv_backward(weights, shape_, rope_, a.attention_in_td, layout.positions, a.qk_norm,
                       w.dqkv, grads, w.dbranch_td, poll_);
  kernels::rms_norm_backward(w.dbranch_td, a.x_td, weights.attention_norm_d, a.attention_rstd_t,
                             true, w.dx_td, grads.attention_norm_d);
}

kernels::HeadLoss Model::forward_backward(const Input& input, double scale,
                                          const GradientReady& gradient_ready) {
  RONDO_CHECK(!grads_.empty(), "the model was made without gradients");
  const auto ready = [&](size_t unit) {
    if (gradient_ready) gradient_ready(unit);
  };
  const size_t last_unit = units_.size() - 1;
  if (input.rows.numel() == 0) {  // padding of a short step: all gradients are zero
    for (size_t unit = units_.size(); unit-- > 0;) ready(unit);
    return {};
  }

  run_blocks(input.tokens, input.layout, true);
  Workspace& w = *workspace_;
  const kernels::HeadLoss loss =
      kernels::head_loss(w.final_out_td, head_vd_, input.rows, input.labels, input.weights, scale,
                         &w.dbranch_td, &head_grad_vd_, nullptr);
  poll_();
  kernels::rms_norm_backward(w.dbranch_td, w.final_x_td, final_norm_d_, w.final_rstd_t, false,
                             w.dx_td, final_norm_grad_d_);
  ready(last_unit);
  for (int64_t layer = shape_.layers - 1; layer >= 0; --layer) {
    backward_block(layer, input.layout);
    ready(static_cast<size_t>(layer) + 1);
  }
  kernels::embed_backward(w.dx_td, input.tokens, embedding_grad_vd_);
  ready(0);
  return loss;
}

kernels::HeadLoss Model::forward(const Input& input, at::Tensor* losses_n) {
  if (input.rows.numel() == 0) return {};
  run_blocks(input.tokens, input.layout, false);
  return kernels::head_loss(workspace_->final_out_td, head_vd_, input.rows, input.labels,
                            input.weights, 1, nullptr, nullptr, losses_n);
}

at::Tensor Model::logits(const at::Tensor& tokens, const kernels::PackedLayout& layout,
                         const at::Tensor& rows) {
  run_blocks(tokens, layout, false);
  at::Tensor logits = at::empty({rows.numel(), shape_.vocab});
  kernels::matmul_nt(workspace_->final_out_td.index_select(0, rows), head_vd_, logits);
  return logits;
}

int64_t Model::workspace_bytes() const { return workspace_->bytes(); }

int64_t activation_bytes(const Shape& shape, int64_t rows) {
  // The workspace aligns each buffer to 512 bytes.
  const auto buffer = [](int64_t elements) { return base::round_up(elements, 128) * 4; };
  const int64_t td = buffer(rows * shape.hidden);
  const int64_t t = buffer(rows);
  const int64_t qkv = buffer(rows * shape.qkv_width());
  const int64_t q = buffer(rows * shape.q_width());
  const int64_t q_heads = buffer(rows * shape.heads);
  int64_t block = 4 * td + 2 * t + qkv + q + q_heads + buffer(2 * rows * shape.ffn);
  int64_t shared = 5 * td + t + buffer(rows * shape.ffn) + q + qkv;
  if (shape.qk_norm) {
    const int64_t k = buffer(rows * shape.kv_width());
    block += q + k + q_heads + buffer(rows * shape.kv_heads);
    shared += 2 * (q + k);
  }
  return shape.layers * block + shared;
}

}  // namespace rondo::model

#include "model/model.hpp"

#include <ATen/ATen.h>

#include <bit>

#include "base/error.hpp"
#include "kernels/on_device.hpp"
#include "model/block_pass.hpp"
#include "model/weights.hpp"
#include "model/workspace.hpp"
#include "parallel/sequence.hpp"

namespace rondo::model {

Model::Model(Shape shape, comm::Group& group, bool with_optimizer)
    : own_mesh_(std::make_unique<parallel::Mesh>(group)),
      mesh_(*own_mesh_),
      shape_(shape),
      workspace_(std::make_unique<Workspace>()) {
  settings_.state.training = with_optimizer;
  set_up();
}

Model::Model(Shape shape, parallel::Mesh& mesh, const ModelSettings& settings)
    : mesh_(mesh),
      shape_(shape),
      settings_(settings),
      pool_(settings.state.device),
      workspace_(std::make_unique<Workspace>()) {
  set_up();
}

void Model::set_up() {
  shape_.validate("model");
  const int tensor = mesh_.size().tensor;
  check_tensor_size(shape_, tensor, "parallel.tensor");
  local_ = local_shape(shape_, tensor);
  for (UnitPlan& plan : unit_plans(shape_)) {
    units_.emplace_back(plan.name, std::move(plan.parameters), mesh_, settings_.state, pool_);
  }
  ids_ = units_.front().layout().local(0).range;
  blocks_.resize(static_cast<size_t>(shape_.layers));
  grads_.resize(static_cast<size_t>(shape_.layers));
  if (settings_.state.transient_weights()) return;
  for (size_t u = 0; u < units_.size(); ++u) look_at_weights(u);
}

Model::~Model() = default;

void Model::initialise(uint64_t seed) {
  for (parallel::Unit& unit : units_) unit.initialise(seed);
  gather_weights();
}

void Model::gather_weights() {
  if (settings_.state.transient_weights()) return;
  for (parallel::Unit& unit : units_) unit.finish_gather();
}

void Model::zero_grad() {
  for (parallel::Unit& unit : units_) unit.zero_grads();
}

const RopeTable& Model::rope(int64_t positions) {
  shape_.check_length(positions, "a document's length");
  if (positions > rope_.positions()) {
    // Doubling, so that a decoding loop that asks for one more each time stays linear.
    const auto doubled = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(positions)));
    rope_ = RopeTable::make(shape_, std::min(shape_.max_seq, doubled)).on(device());
  }
  return rope_;
}

std::vector<std::vector<size_t>> Model::uses(bool backward) const {
  std::vector<std::vector<size_t>> uses;
  for (size_t u = 0; u < last_unit(); ++u) uses.push_back({u});
  uses.push_back({last_unit()});
  if (shape_.tied) uses.back().push_back(0);
  for (size_t u = last_unit() - 1; backward && u >= 1; --u) uses.push_back({u});
  return uses;
}

void Model::look_at_weights(size_t u) {
  const parallel::Unit& unit = units_[u];
  if (u == 0) embedding_vd_ = unit.weight(0).narrow(0, 0, ids_.size());
  if (u == last_unit()) {
    final_norm_d_ = unit.weight(0);
    head_vd_ = shape_.tied ? embedding_vd_ : unit.weight(1).narrow(0, 0, ids_.size());
  }
  if (u > 0 && u < last_unit()) blocks_[u - 1] = block_weights(unit, local_);
}

void Model::look_at_grads(size_t u) {
  parallel::Unit& unit = units_[u];
  unit.begin_grads();
  if (u == 0) embedding_grad_vd_ = unit.grad(0).narrow(0, 0, ids_.size());
  if (u == last_unit()) {
    final_norm_grad_d_ = unit.grad(0);
    if (shape_.tied) look_at_grads(0);
    head_grad_vd_ = shape_.tied ? embedding_grad_vd_ : unit.grad(1).narrow(0, 0, ids_.size());
  }
  if (u > 0 && u < last_unit()) grads_[u - 1] = block_grads(unit, local_);
}

Model::Rows Model::padded(const at::Tensor& tokens, const kernels::PackedLayout& layout) const {
  RONDO_CHECK(tokens.numel() == layout.rows, "{} tokens, {} rows", tokens.numel(), layout.rows);
  const int64_t rows = base::round_up(layout.rows, mesh_.size().tensor);
  Rows result = {tokens, {}, layout};
  if (rows != layout.rows) {
    result.host_tokens = at::zeros({rows}, at::kInt);
    result.host_tokens.narrow(0, 0, layout.rows).copy_(tokens);
    result.layout = kernels::PackedLayout::make(rows, layout.documents);
  }
  result.tokens = kernels::on_device(result.host_tokens, device());
  result.layout = result.layout.on(device());
  return result;
}

Pass Model::begin_pass(const kernels::PackedLayout& layout, bool training) {
  const RopeTable& table = rope(std::max<int64_t>(layout.longest, 1));
  workspace_->prepare({.shape = local_,
                       .rows = layout.rows,
                       .tensor = mesh_.size().tensor,
                       .training = training,
                       .recompute = settings_.recompute,
                       .type = settings_.state.compute,
                       .device = device()});
  return {local_, table, layout, mesh_.tensor(), *workspace_, poll_};
}

void Model::run_blocks(const Pass& pass, const at::Tensor& tokens, parallel::Prefetch& prefetch,
                       bool compute) {
  Workspace& w = pass.workspace;
  const double eps = shape_.norm_eps;
  const auto use = [&](size_t unit) {
    prefetch.next();
    if (settings_.state.transient_weights()) {
      look_at_weights(unit);
      if (unit == last_unit() && shape_.tied) look_at_weights(0);
    }
  };

  use(0);
  if (compute) {
    at::Tensor& x_sd = w.block(0).x_sd;
    at::Tensor part_td = pass.tensor.size() == 1 ? x_sd : w.delta_td;
    kernels::embed(embedding_vd_, tokens, part_td, ids_.begin);
    parallel::scatter_rows(pass.tensor, part_td, x_sd).wait();
  }
  at::Tensor delta_sd;
  for (int64_t layer = 0; layer < shape_.layers; ++layer) {
    use(static_cast<size_t>(layer) + 1);
    if (!compute) continue;
    const BlockWeights& weights = block(layer);
    BlockActivations& a = w.block(layer);
    if (layer == 0) {
      kernels::rms_norm(a.x_sd, weights.attention_norm_d, eps, a.attention_in_sd,
                        a.attention_rstd_s);
    } else {
      kernels::add_rms_norm(w.block(layer - 1).x_mid_sd, delta_sd, weights.attention_norm_d, eps,
                            a.x_sd, a.attention_in_sd, a.attention_rstd_s);
    }
    delta_sd = attention_forward(pass, weights, a);
    kernels::add_rms_norm(a.x_sd, delta_sd, weights.mlp_norm_d, eps, a.x_mid_sd, a.mlp_in_sd,
                          a.mlp_rstd_s);
    delta_sd = mlp_forward(pass, weights, a);
  }
  use(last_unit());
  if (!compute) return;
  kernels::add_rms_norm(w.block(shape_.layers - 1).x_mid_sd, delta_sd, final_norm_d_, eps,
                        w.final_x_sd, w.final_out_sd, w.final_rstd_s);
}

kernels::LossSums Model::run_head(const Pass& pass, const Input& input, double scale, bool training,
                                  kernels::RowLosses* each) {
  Workspace& w = pass.workspace;
  comm::Group& tensor = pass.tensor;
  const at::Tensor out_td = parallel::gather_rows(tensor, w.final_out_sd, w.gathered_td).wait();
  kernels::HeadOptions options;
  options.first_id = ids_.begin;
  options.poll = poll_;
  if (!device().is_cpu()) options.chunk_rows = kernels::kDeviceChunkRows;
  if (tensor.size() > 1) {
    options.all_max = [&](const at::Tensor& values) {
      tensor.all_max(values, comm::Purpose::kActivations).wait();
    };
    options.all_sum = [&](const at::Tensor& values) {
      tensor.all_sum(values, comm::Purpose::kActivations).wait();
    };
  }
  const auto there = [&](const at::Tensor& host) { return kernels::on_device(host, device()); };
  if (each != nullptr) {
    const at::Tensor none_n = at::empty({input.rows.numel()}, at::device(device()));
    *each = {none_n, at::empty_like(none_n)};
  }
  const kernels::LossSums sums = kernels::head_loss(
      out_td, head_vd_, there(input.rows), there(input.labels), there(input.weights), scale,
      training ? &w.dbranch_td : nullptr, training ? &head_grad_vd_ : nullptr, each, options);
  if (each != nullptr) *each = {each->losses_n.cpu(), each->correct_n.cpu()};
  return sums;
}

void Model::backward_block(const Pass& pass, int64_t layer) {
  const BlockWeights& weights = block(layer);
  BlockGrads& grads = grads_[static_cast<size_t>(layer)];
  BlockActivations& a = pass.workspace.block(layer);
  const int64_t recomputed = settings_.recompute.count(shape_.layers);
  // What the last one that recomputes has left in the shared buffers is still there.
  if (layer < recomputed - 1) recompute_block(pass, weights, a, settings_.recompute.what);
  mlp_backward(pass, weights, a, grads);
  attention_backward(pass, weights, a, grads);
}

kernels::LossSums Model::forward_backward(const Input& input, double scale,
                                          const GradientReady& gradient_ready) {
  RONDO_CHECK(settings_.state.training, "the model was made without gradients");
  const bool compute = input.rows.numel() > 0;  // else all gradients are zero
  const Rows rows = padded(input.tokens, input.layout);
  const Pass pass = begin_pass(rows.layout, true);
  Workspace& w = pass.workspace;
  const auto ready = [&](size_t unit) {
    if (gradient_ready) gradient_ready(unit);
  };
  parallel::Prefetch prefetch(units_, uses(true));

  run_blocks(pass, rows.tokens, prefetch, compute);
  kernels::LossSums loss;
  look_at_grads(last_unit());
  if (compute) {
    loss = run_head(pass, input, scale, true, nullptr);
    poll_();
    const at::Tensor dout_sd =
        parallel::scatter_rows(pass.tensor, w.dbranch_td, w.dbranch_sd).wait();
    kernels::rms_norm_backward(dout_sd, w.final_x_sd, final_norm_d_, w.final_rstd_s, false, w.dx_sd,
                               final_norm_grad_d_);
  }
  ready(last_unit());
  for (int64_t layer = shape_.layers - 1; layer >= 0; --layer) {
    const size_t unit = static_cast<size_t>(layer) + 1;
    prefetch.next();
    if (settings_.state.transient_weights()) look_at_weights(unit);
    look_at_grads(unit);
    if (compute) backward_block(pass, layer);
    ready(unit);
  }
  prefetch.finish();
  look_at_grads(0);
  if (compute) {
    const at::Tensor dx_td = parallel::gather_rows(pass.tensor, w.dx_sd, w.dx_td).wait();
    kernels::embed_backward(dx_td, rows.host_tokens, embedding_grad_vd_, ids_.begin);
  }
  ready(0);
  return loss;
}

kernels::LossSums Model::forward(const Input& input, kernels::RowLosses* each) {
  const bool compute = input.rows.numel() > 0;
  const Rows rows = padded(input.tokens, input.layout);
  const Pass pass = begin_pass(rows.layout, false);
  parallel::Prefetch prefetch(units_, uses(false));
  run_blocks(pass, rows.tokens, prefetch, compute);
  kernels::LossSums loss;
  if (compute) loss = run_head(pass, input, 1, false, each);
  prefetch.finish();
  return loss;
}

at::Tensor Model::logits(const at::Tensor& tokens, const kernels::PackedLayout& layout,
                         const at::Tensor& rows) {
  RONDO_CHECK(mesh_.size().tensor == 1);
  const Rows all = padded(tokens, layout);
  const Pass pass = begin_pass(all.layout, false);
  parallel::Prefetch prefetch(units_, uses(false));
  run_blocks(pass, all.tokens, prefetch, true);
  at::Tensor logits = at::empty({rows.numel(), shape_.vocab}, at::device(device()));
  kernels::matmul_nt(workspace_->final_out_sd.index_select(0, rows.to(device())), head_vd_, logits);
  prefetch.finish();
  return logits.cpu();
}

int64_t Model::workspace_bytes() const { return workspace_->bytes(); }

}  // namespace rondo::model

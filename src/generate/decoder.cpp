#include "generate/decoder.hpp"

#include <ATen/ATen.h>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "generate/decode_attention.hpp"
#include "kernels/kernels.hpp"

namespace rondo::generate {
namespace {

at::Tensor tensor_of(std::span<const int32_t> tokens) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(tokens.size())}, at::kInt);
  std::ranges::copy(tokens, tensor.mutable_data_ptr<int32_t>());
  return tensor;
}

}  // namespace

Decoder::Rows::Rows(const model::Shape& shape, int64_t rows) {
  x_td = at::empty({rows, shape.hidden});
  delta_td = at::empty_like(x_td);
  normed_td = at::empty_like(x_td);
  rstd_t = at::empty({rows});
  qkv = at::empty({rows, shape.qkv_width()});
  attention = at::empty({rows, shape.q_width()});
  gate_up_t2f = at::empty({rows, 2 * shape.ffn});
  act_tf = at::empty({rows, shape.ffn});
  qk_norm = model::make_qk_norm_buffers(shape, rows);
}

Decoder::Decoder(const model::Model& model, int64_t slots, int64_t max_length)
    : model_(model),
      cache_(model.shape(), slots, max_length),
      lengths_(static_cast<size_t>(slots), 0),
      step_rows_(model.shape(), base::round_up(slots, kRowMultiple)) {
  model.shape().check_length(max_length, "the length of a generated sequence");
  rope_ = model::RopeTable::make(model.shape(), max_length);
  const int64_t rows = step_rows_.x_td.size(0);
  step_tokens_ = at::zeros({rows}, at::kInt);
  step_positions_ = at::zeros({rows}, at::kInt);
  step_logits_ = at::empty({rows, model.shape().vocab});
}

void Decoder::run(const at::Tensor& tokens, const at::Tensor& positions, Rows& rows,
                  const std::function<void(int64_t layer)>& attend) {
  const model::Shape& shape = model_.shape();
  const double eps = shape.norm_eps;
  kernels::embed(model_.embedding(), tokens, rows.x_td);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const model::BlockWeights& weights = model_.block(layer);
    if (layer == 0) {
      kernels::rms_norm(rows.x_td, weights.attention_norm_d, eps, rows.normed_td, rows.rstd_t);
    } else {
      kernels::add_rms_norm(rows.x_td, rows.delta_td, weights.attention_norm_d, eps, rows.x_td,
                            rows.normed_td, rows.rstd_t);
    }
    model::project_qkv(weights, shape, rope_, rows.normed_td, positions, rows.qk_norm, rows.qkv,
                       [] {});
    attend(layer);
    kernels::matmul_nt(rows.attention, weights.o, rows.delta_td);
    kernels::add_rms_norm(rows.x_td, rows.delta_td, weights.mlp_norm_d, eps, rows.x_td,
                          rows.normed_td, rows.rstd_t);
    model::project_mlp(weights, rows.normed_td, rows.gate_up_t2f, rows.act_tf, rows.delta_td,
                       [] {});
  }
  kernels::add_rms_norm(rows.x_td, rows.delta_td, model_.final_norm(), eps, rows.x_td,
                        rows.normed_td, rows.rstd_t);
}

at::Tensor Decoder::start(int64_t slot, std::span<const int32_t> tokens) {
  RONDO_CHECK(length(slot) == 0 && !tokens.empty(), "slot {} holds {} tokens", slot, length(slot));
  const model::Shape& shape = model_.shape();
  const auto count = static_cast<int64_t>(tokens.size());
  const auto layout = kernels::PackedLayout::make(count, {{0, count}});
  Rows rows(shape, count);
  at::Tensor logsumexp = at::empty({shape.heads, count});
  run(tensor_of(tokens), layout.positions, rows, [&](int64_t layer) {
    cache_.store(layer, slot, 0, rows.qkv, 0, count);
    kernels::attention(rows.qkv, model::attention_shape(shape), layout, rows.attention, logsumexp);
  });
  lengths_[static_cast<size_t>(slot)] = count;
  at::Tensor logits = at::empty({1, shape.vocab});
  kernels::matmul_nt(rows.normed_td.narrow(0, count - 1, 1), model_.head(), logits);
  return logits.squeeze(0);
}

const at::Tensor& Decoder::step(std::span<const int32_t> tokens) {
  RONDO_CHECK(tokens.size() == lengths_.size(), "{} tokens, {} slots", tokens.size(), slots());
  auto* token = step_tokens_.mutable_data_ptr<int32_t>();
  auto* position = step_positions_.mutable_data_ptr<int32_t>();
  std::vector<int64_t> lengths = lengths_;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool taken = lengths_[i] > 0;
    token[i] = taken ? tokens[i] : 0;
    position[i] = static_cast<int32_t>(lengths_[i]);
    lengths[i] += taken ? 1 : 0;
  }
  run(step_tokens_, step_positions_, step_rows_, [&](int64_t layer) {
    for (int64_t slot = 0; slot < slots(); ++slot) {
      if (length(slot) > 0) cache_.store(layer, slot, length(slot), step_rows_.qkv, slot, 1);
    }
    decode_attention(step_rows_.qkv, model::attention_shape(model_.shape()), cache_.keys(layer),
                     cache_.values(layer), lengths, step_rows_.attention);
  });
  lengths_ = std::move(lengths);
  kernels::matmul_nt(step_rows_.normed_td, model_.head(), step_logits_);
  return step_logits_;
}

}  // namespace rondo::generate

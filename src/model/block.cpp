#include "model/block.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "model/weights.hpp"

namespace rondo::model {
namespace {

// `view(i, count)` gives the tensor of `count` joined parameters from i on.
template <class View>
BlockWeights block_views(const parallel::Unit& unit, const Shape& shape, const View& view) {
  const auto find = [&](const std::string& ending) {
    const std::string& first = unit.parameters().front().name;
    const std::string prefix = first.substr(0, first.size() - sizeof("input_layernorm.weight") + 1);
    return index_of(unit, prefix + ending);
  };
  BlockWeights views;
  views.attention_norm_d = view(find("input_layernorm.weight"), 1);
  views.qkv = view(find("self_attn.q_proj.weight"), 3);
  if (shape.qkv_bias) views.qkv_bias = view(find("self_attn.q_proj.bias"), 3);
  if (shape.qk_norm) {
    views.q_norm_c = view(find("self_attn.q_norm.weight"), 1);
    views.k_norm_c = view(find("self_attn.k_norm.weight"), 1);
  }
  views.o = view(find("self_attn.o_proj.weight"), 1);
  views.mlp_norm_d = view(find("post_attention_layernorm.weight"), 1);
  views.gate_up = view(find("mlp.gate_proj.weight"), 2);
  views.down = view(find("mlp.down_proj.weight"), 1);
  return views;
}

// The norm of each head of one part (queries or keys) of every row of qkv.
void norm_heads(const Shape& shape, const at::Tensor& weight_c, at::Tensor& in, at::Tensor& out,
                at::Tensor& rstd, const at::Tensor& part) {
  in.view(part.sizes()).copy_(part);
  kernels::rms_norm(in, weight_c, shape.norm_eps, out, rstd);
  part.copy_(out.view(part.sizes()));
}

}  // namespace

BlockWeights block_weights(const parallel::Unit& unit, const Shape& shape) {
  return block_views(unit, shape,
                     [&](size_t i, size_t count) { return unit.joined_weight(i, count); });
}

BlockGrads block_grads(const parallel::Unit& unit, const Shape& shape) {
  return block_views(unit, shape,
                     [&](size_t i, size_t count) { return unit.joined_grad(i, count); });
}

QkNormBuffers make_qk_norm_buffers(const Shape& shape, int64_t rows) {
  QkNormBuffers buffers;
  if (!shape.qk_norm) return buffers;
  const int64_t q_rows = rows * shape.heads;
  const int64_t k_rows = rows * shape.kv_heads;
  buffers.q_in = at::empty({q_rows, shape.head_width});
  buffers.k_in = at::empty({k_rows, shape.head_width});
  buffers.q_rstd = at::empty({q_rows});
  buffers.k_rstd = at::empty({k_rows});
  buffers.q_out = at::empty_like(buffers.q_in);
  buffers.k_out = at::empty_like(buffers.k_in);
  return buffers;
}

void project_qkv(const BlockWeights& weights, const Shape& shape, const RopeTable& rope,
                 const at::Tensor& x_td, const at::Tensor& positions_t, QkNormBuffers& norms,
                 at::Tensor& qkv, const Poll& poll) {
  kernels::matmul_nt(x_td, weights.qkv, qkv, {.poll = poll});
  if (shape.qkv_bias) qkv.add_(weights.qkv_bias);
  if (shape.qk_norm) {
    norm_heads(shape, weights.q_norm_c, norms.q_in, norms.q_out, norms.q_rstd,
               qkv.narrow(1, 0, shape.q_width()));
    norm_heads(shape, weights.k_norm_c, norms.k_in, norms.k_out, norms.k_rstd,
               qkv.narrow(1, shape.q_width(), shape.kv_width()));
  }
  kernels::rope(qkv, shape.qkv_width(), shape.heads + shape.kv_heads, shape.head_width, positions_t,
                rope.cos, rope.sin, false);
}

void project_mlp(const BlockWeights& weights, const at::Tensor& x_td, at::Tensor& gate_up_t2f,
                 at::Tensor& act_tf, at::Tensor& out_td, const Poll& poll) {
  kernels::matmul_nt(x_td, weights.gate_up, gate_up_t2f, {.poll = poll});
  kernels::swiglu(gate_up_t2f, act_tf);
  poll();
  kernels::matmul_nt(act_tf, weights.down, out_td, {.poll = poll});
}

}  // namespace rondo::model

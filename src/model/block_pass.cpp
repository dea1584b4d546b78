#include "model/block_pass.hpp"

#include <ATen/ATen.h>

#include "parallel/sequence.hpp"

namespace rondo::model {
namespace {

using parallel::gather_rows;
using parallel::scatter_rows;

void norm_heads_backward(const at::Tensor& weight_c, const at::Tensor& in, const at::Tensor& rstd,
                         at::Tensor& dout, at::Tensor& din, at::Tensor& dweight_c,
                         const at::Tensor& dpart) {
  dout.view(dpart.sizes()).copy_(dpart);
  kernels::rms_norm_backward(dout, in, weight_c, rstd, false, din, dweight_c);
  dpart.copy_(din.view(dpart.sizes()));
}

// The gradient of qkv as attention reads it becomes that of the projection's output.
void unrotate(const Pass& pass, const BlockWeights& weights, QkNormBuffers& norms, at::Tensor& dqkv,
              BlockGrads& grads) {
  const Shape& shape = pass.shape;
  kernels::rope(dqkv, shape.qkv_width(), shape.heads + shape.kv_heads, shape.head_width,
                pass.layout.positions, pass.rope.cos, pass.rope.sin, true);
  if (!shape.qk_norm) return;
  norm_heads_backward(weights.q_norm_c, norms.q_in, norms.q_rstd, norms.q_out, norms.q_grad,
                      grads.q_norm_c, dqkv.narrow(1, 0, shape.q_width()));
  norm_heads_backward(weights.k_norm_c, norms.k_in, norms.k_rstd, norms.k_out, norms.k_grad,
                      grads.k_norm_c, dqkv.narrow(1, shape.q_width(), shape.kv_width()));
}

// Up to the output of attention.
void attend(const Pass& pass, const BlockWeights& weights, BlockActivations& a) {
  const at::Tensor in_td =
      gather_rows(pass.tensor, a.attention_in_sd, pass.workspace.gathered_td).wait();
  project_qkv(weights, pass.shape, pass.rope, in_td, pass.layout.positions, a.qk_norm, a.qkv,
              pass.poll);
  kernels::attention(a.qkv, attention_shape(pass.shape), pass.layout, a.attention_out,
                     a.logsumexp_ht);
  pass.poll();
}

}  // namespace

at::Tensor attention_forward(const Pass& pass, const BlockWeights& weights, BlockActivations& a) {
  Workspace& w = pass.workspace;
  attend(pass, weights, a);
  kernels::matmul_nt(a.attention_out, weights.o, w.delta_td, {.poll = pass.poll});
  return scatter_rows(pass.tensor, w.delta_td, w.delta_sd).wait();
}

at::Tensor mlp_forward(const Pass& pass, const BlockWeights& weights, BlockActivations& a) {
  Workspace& w = pass.workspace;
  const at::Tensor in_td = gather_rows(pass.tensor, a.mlp_in_sd, w.gathered_td).wait();
  project_mlp(weights, in_td, a.gate_up_t2f, w.act_tf, w.delta_td, pass.poll);
  return scatter_rows(pass.tensor, w.delta_td, w.delta_sd).wait();
}

void recompute_block(const Pass& pass, const BlockWeights& weights, BlockActivations& a,
                     Recompute::What what) {
  using What = Recompute::What;
  const double eps = pass.shape.norm_eps;
  if (what == What::kNone) return;
  if (what == What::kBlock) {
    kernels::rms_norm(a.x_sd, weights.attention_norm_d, eps, a.attention_in_sd, a.attention_rstd_s);
    const at::Tensor delta_sd = attention_forward(pass, weights, a);
    kernels::add_rms_norm(a.x_sd, delta_sd, weights.mlp_norm_d, eps, a.x_mid_sd, a.mlp_in_sd,
                          a.mlp_rstd_s);
    const at::Tensor in_td =
        gather_rows(pass.tensor, a.mlp_in_sd, pass.workspace.gathered_td).wait();
    kernels::matmul_nt(in_td, weights.gate_up, a.gate_up_t2f, {.poll = pass.poll});
    return;
  }
  kernels::rms_norm_again(a.x_sd, weights.attention_norm_d, a.attention_rstd_s, a.attention_in_sd);
  kernels::rms_norm_again(a.x_mid_sd, weights.mlp_norm_d, a.mlp_rstd_s, a.mlp_in_sd);
  if (what == What::kAttention) attend(pass, weights, a);
}

void mlp_backward(const Pass& pass, const BlockWeights& weights, BlockActivations& a,
                  BlockGrads& grads) {
  Workspace& w = pass.workspace;
  const Poll& poll = pass.poll;
  auto dout = gather_rows(pass.tensor, w.dx_sd, w.dx_td);
  auto in = gather_rows(pass.tensor, a.mlp_in_sd, w.gathered_td);
  kernels::swiglu(a.gate_up_t2f, w.act_tf);
  poll();
  const at::Tensor dout_td = dout.wait();
  kernels::matmul_tn(dout_td, w.act_tf, grads.down, {.accumulate = true, .poll = poll});
  // The activation's buffer now takes its gradient.
  kernels::matmul_nn(dout_td, weights.down, w.act_tf, {.poll = poll});
  kernels::swiglu_backward(w.act_tf, a.gate_up_t2f);
  poll();
  kernels::matmul_nn(a.gate_up_t2f, weights.gate_up, w.dbranch_td, {.poll = poll});
  auto dbranch = scatter_rows(pass.tensor, w.dbranch_td, w.dbranch_sd);
  const at::Tensor in_td = in.wait();
  kernels::matmul_tn(a.gate_up_t2f, in_td, grads.gate_up, {.accumulate = true, .poll = poll});
  kernels::rms_norm_backward(dbranch.wait(), a.x_mid_sd, weights.mlp_norm_d, a.mlp_rstd_s, true,
                             w.dx_sd, grads.mlp_norm_d);
}

void attention_backward(const Pass& pass, const BlockWeights& weights, BlockActivations& a,
                        BlockGrads& grads) {
  Workspace& w = pass.workspace;
  const Poll& poll = pass.poll;
  const Shape& shape = pass.shape;
  auto dout = gather_rows(pass.tensor, w.dx_sd, w.dx_td);
  auto in = gather_rows(pass.tensor, a.attention_in_sd, w.gathered_td);
  const at::Tensor dout_td = dout.wait();
  kernels::matmul_tn(dout_td, a.attention_out, grads.o, {.accumulate = true, .poll = poll});
  kernels::matmul_nn(dout_td, weights.o, w.dattention, {.poll = poll});
  kernels::attention_backward(w.dattention, a.qkv, a.attention_out, a.logsumexp_ht,
                              attention_shape(shape), pass.layout, w.dqkv);
  poll();
  unrotate(pass, weights, a.qk_norm, w.dqkv, grads);
  if (shape.qkv_bias) grads.qkv_bias.add_(w.dqkv.sum(0, /*keepdim=*/false, at::kFloat));
  kernels::matmul_nn(w.dqkv, weights.qkv, w.dbranch_td, {.poll = poll});
  auto dbranch = scatter_rows(pass.tensor, w.dbranch_td, w.dbranch_sd);
  const at::Tensor in_td = in.wait();
  kernels::matmul_tn(w.dqkv, in_td, grads.qkv, {.accumulate = true, .poll = poll});
  kernels::rms_norm_backward(dbranch.wait(), a.x_sd, weights.attention_norm_d, a.attention_rstd_s,
                             true, w.dx_sd, grads.attention_norm_d);
}

}  // namespace rondo::model

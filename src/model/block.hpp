// The pieces of a transformer block that training and generation share: views of its weights, and
// the projections around attention.
//
// Legend of shape letters: model/shape.hpp; heads and feed-forward width are those of this rank, as
// its unit has them and `shape` says. Outputs are written completely into tensors given by
// the caller, all float32 and contiguous.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "kernels/kernels.hpp"
#include "kernels/matmul.hpp"
#include "model/rope.hpp"
#include "model/shape.hpp"
#include "parallel/unit.hpp"

namespace rondo::model {

// Views into one block's unit. Undefined tensors: the family has no such parameter.
struct BlockWeights {
  at::Tensor attention_norm_d;
  at::Tensor qkv;       // [(h + 2k) * c, d]: q | k | v
  at::Tensor qkv_bias;  // [(h + 2k) * c], Qwen2
  at::Tensor q_norm_c;  // Qwen3
  at::Tensor k_norm_c;  // Qwen3
  at::Tensor o;         // [d, h * c]
  at::Tensor mlp_norm_d;
  at::Tensor gate_up;  // [2f, d]: gate | up
  at::Tensor down;     // [d, f]
};
// The same views of the gradients.
using BlockGrads = BlockWeights;

BlockWeights block_weights(const parallel::Unit& unit, const Shape& shape);
BlockGrads block_grads(const parallel::Unit& unit, const Shape& shape);

// What the per-head norms of queries and keys need and keep (Qwen3 alone; undefined elsewhere).
struct QkNormBuffers {
  at::Tensor q_in, k_in;      // [t * h, c], [t * k, c]: before the norm, kept for the backward
  at::Tensor q_rstd, k_rstd;  // [t * h], [t * k], kept
  at::Tensor q_out, k_out;    // as q_in, k_in: scratch
  at::Tensor q_grad, k_grad;  // as q_in, k_in: scratch of the backward alone
};
// For the forward of `rows` rows; all undefined for families without qk_norm.
QkNormBuffers make_qk_norm_buffers(const Shape& shape, int64_t rows);

// Called between operations, so that collectives under way progress. Never empty.
using Poll = std::function<void()>;

// qkv [t, (h + 2k) * c] = x_td @ weights.qkv^T + bias, queries and keys normed (Qwen3) and rotated
// to positions_t (int32 [t]).
void project_qkv(const BlockWeights& weights, const Shape& shape, const RopeTable& rope,
                 const at::Tensor& x_td, const at::Tensor& positions_t, QkNormBuffers& norms,
                 at::Tensor& qkv, const Poll& poll);

// out_td = down(swiglu(gate_up(x_td))). gate_up_t2f is kept for the backward, act_tf is scratch.
void project_mlp(const BlockWeights& weights, const at::Tensor& x_td, at::Tensor& gate_up_t2f,
                 at::Tensor& act_tf, at::Tensor& out_td, const Poll& poll);

inline kernels::AttentionShape attention_shape(const Shape& shape) {
  return {shape.heads, shape.kv_heads, shape.head_width};
}

}  // namespace rondo::model

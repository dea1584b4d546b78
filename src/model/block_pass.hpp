// The halves of a transformer block, forward and backward, with the collectives of tensor and
// sequence parallelism at the places where they start and are waited for.
//
// Internal to model/. Legend of shape letters: model/shape.hpp; s: rows of the residual stream on
// this rank of the tensor axis (parallel/sequence.hpp).
#pragma once

#include "comm/group.hpp"
#include "kernels/packed_layout.hpp"
#include "model/block.hpp"
#include "model/rope.hpp"
#include "model/workspace.hpp"

namespace rondo::model {

// What all blocks of one pass over a micro-batch share.
struct Pass {
  const Shape& shape;  // heads and ffn of this rank
  const RopeTable& rope;
  const kernels::PackedLayout& layout;
  comm::Group& tensor;
  Workspace& workspace;
  const Poll& poll;
};

// Each is collective over the tensor group.

// From the norms' outputs to what is added to the residual stream [s, d]; valid until the next
// half of any block.
at::Tensor attention_forward(const Pass& pass, const BlockWeights& weights, BlockActivations& a);
at::Tensor mlp_forward(const Pass& pass, const BlockWeights& weights, BlockActivations& a);

// The block's activations from its input x_sd again, as far as `recompute` says; the same bits.
void recompute_block(const Pass& pass, const BlockWeights& weights, BlockActivations& a,
                     Recompute::What what);

// workspace.dx_sd, the gradient of what the half adds to, becomes that of the residual stream
// before the half; the weights' gradients are added to.
void mlp_backward(const Pass& pass, const BlockWeights& weights, BlockActivations& a,
                  BlockGrads& grads);
void attention_backward(const Pass& pass, const BlockWeights& weights, BlockActivations& a,
                        BlockGrads& grads);

}  // namespace rondo::model

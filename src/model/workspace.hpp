// Activations of one micro-batch, in one allocation that micro-batches share: fresh memory costs
// page faults at its first touch, several percent of a step on a CPU.
//
// Internal to model/. Legend of shape letters: model/shape.hpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/block.hpp"
#include "model/shape.hpp"

namespace rondo::model {

// What one block's forward leaves for its backward.
struct BlockActivations {
  at::Tensor x_td;              // input of the block (residual stream)
  at::Tensor attention_rstd_t;  // of the norm before attention
  at::Tensor attention_in_td;   // that norm's output
  at::Tensor qkv;               // [t, (h + 2k) * c], normed and rotated
  at::Tensor attention_out;     // [t, h * c]
  at::Tensor logsumexp_ht;
  at::Tensor x_mid_td;  // residual stream after attention
  at::Tensor mlp_rstd_t;
  at::Tensor mlp_in_td;
  at::Tensor gate_up_t2f;  // its own gradient after the backward
  QkNormBuffers qk_norm;
};

class Workspace {
 public:
  // Lays out buffers for `rows` rows: of every block when `training`, else of one that all blocks
  // share, without the backward's. Allocates only when what is there is too small; contents are
  // lost.
  void prepare(const Shape& shape, int64_t rows, bool training);

  // Activations of block `layer`.
  BlockActivations& block(int64_t layer) {
    return blocks_[static_cast<size_t>(layer) % blocks_.size()];
  }

  at::Tensor delta_td;  // what attention or MLP adds to the residual stream
  at::Tensor act_tf;    // output of SwiGLU, later its gradient
  at::Tensor final_x_td, final_rstd_t, final_out_td;
  // Backward alone.
  at::Tensor dx_td;       // gradient of the residual stream
  at::Tensor dbranch_td;  // gradient of a norm's output
  at::Tensor dattention;  // [t, h * c]
  at::Tensor dqkv;        // [t, (h + 2k) * c]

  int64_t bytes() const { return arena_.defined() ? arena_.numel() * 4 : 0; }

 private:
  // Lays out all buffers from the arena's start; with no arena it only counts. Returns the number
  // of elements.
  int64_t lay_out(const Shape& shape, int64_t rows, bool training);

  at::Tensor arena_;
  std::vector<BlockActivations> blocks_;
  int64_t rows_ = 0;
  bool training_ = false;
};

}  // namespace rondo::model

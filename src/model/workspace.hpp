// Activations of one micro-batch, in one allocation that micro-batches share: fresh memory costs
// page faults at its first touch, several percent of a step on a CPU.
//
// Internal to model/. Legend of shape letters: model/shape.hpp. Heads and feed-forward width are
// this rank's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/block.hpp"
#include "model/recompute.hpp"
#include "model/shape.hpp"

namespace rondo::model {

// What one block's forward leaves for its backward. What is recomputed there lies in buffers that
// all such blocks share.
struct BlockActivations {
  at::Tensor x_sd;              // input of the block (residual stream)
  at::Tensor attention_rstd_s;  // of the norm before attention
  at::Tensor attention_in_sd;   // that norm's output
  at::Tensor qkv;               // [t, (h + 2k) * c], normed and rotated
  at::Tensor attention_out;     // [t, h * c]
  at::Tensor logsumexp_ht;
  at::Tensor x_mid_sd;  // residual stream after attention
  at::Tensor mlp_rstd_s;
  at::Tensor mlp_in_sd;
  at::Tensor gate_up_t2f;  // its own gradient after the backward
  QkNormBuffers qk_norm;
};

// What fixes the sizes.
struct WorkspaceSize {
  Shape shape;         // heads and ffn of this rank
  int64_t rows = 0;    // t: a multiple of tensor
  int64_t tensor = 1;  // size of the axis; s = t / tensor
  bool training = false;
  Recompute recompute;
  at::ScalarType type = at::kFloat;  // of activations; statistics are float32
  at::Device device = at::kCPU;
  bool operator==(const WorkspaceSize&) const = default;
};

class Workspace {
 public:
  // Lays out buffers: of every block when training, else of one that all blocks share, without the
  // backward's. Allocates only when what is there is too small; contents are lost.
  void prepare(const WorkspaceSize& size);

  // Activations of block `layer`.
  BlockActivations& block(int64_t layer) {
    return blocks_[static_cast<size_t>(layer) % blocks_.size()];
  }

  at::Tensor
      delta_td;  // what attention or MLP adds to the residual stream (this rank's part of it)
  at::Tensor delta_sd;     // the same, summed over the tensor axis
  at::Tensor act_tf;       // output of SwiGLU, later its gradient
  at::Tensor gathered_td;  // a norm's output over all rows; undefined with one tensor rank
  at::Tensor final_x_sd, final_rstd_s, final_out_sd;
  // Backward alone.
  at::Tensor dx_sd;       // gradient of the residual stream
  at::Tensor dx_td;       // the same over all rows; undefined with one tensor rank
  at::Tensor dbranch_td;  // gradient of a norm's output (this rank's part of it)
  at::Tensor dbranch_sd;  // the same, summed over the tensor axis
  at::Tensor dattention;  // [t, h * c]
  at::Tensor dqkv;        // [t, (h + 2k) * c]

  int64_t bytes() const { return arena_.defined() ? arena_.numel() : 0; }

 private:
  // Lays out all buffers from the arena's start; with no arena it only counts. Returns the number
  // of bytes.
  int64_t lay_out(const WorkspaceSize& size);

  at::Tensor arena_;  // bytes
  std::vector<BlockActivations> blocks_;
  WorkspaceSize size_;
};

}  // namespace rondo::model

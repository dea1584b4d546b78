// Model: a decoder of the Llama family with explicit forward and backward on packed documents.
//
// Owns its units: unit 0 is the embedding, units 1..layers the blocks, the last one the final norm
// and (unless tied) the head. Activations live in a workspace that is allocated at the first call
// for a number of rows and reused, so that micro-batches touch no fresh memory.
// Callers hold a c10::InferenceMode guard. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "comm/group.hpp"
#include "kernels/kernels.hpp"
#include "kernels/packed_layout.hpp"
#include "model/block.hpp"
#include "model/rope.hpp"
#include "model/shape.hpp"
#include "parallel/unit.hpp"

namespace rondo::model {

// One micro-batch. References stay valid during the call.
struct Input {
  const at::Tensor& tokens;   // int32 [t], each in [0, vocab): checked by the caller
  const at::Tensor& rows;     // int64 [n], ascending rows that carry weight
  const at::Tensor& labels;   // int64 [n]: the token that each of these rows predicts
  const at::Tensor& weights;  // float32 [n]
  const kernels::PackedLayout& layout;
};

// Called with a unit's index as soon as its gradient is complete.
using GradientReady = std::function<void(size_t unit)>;

class Workspace;

class Model {
 public:
  // `group` divides the units' optimizer state. with_optimizer: gradients and moments are allocated
  // (training), else weights alone (evaluation, generation). Weights are not initialised.
  Model(Shape shape, comm::Group& group, bool with_optimizer);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Shape& shape() const { return shape_; }
  size_t unit_count() const { return units_.size(); }
  parallel::Unit& unit(size_t i) { return units_.at(i); }
  const parallel::Unit& unit(size_t i) const { return units_.at(i); }

  // Fresh weights: matrices normal(0, initializer_std), o_proj and down_proj of deviation
  // initializer_std / sqrt(2 * layers) (GPT-2), norms 1, biases 0. The same for every layout.
  void initialise(uint64_t seed);
  void zero_grad();

  // Called between operations, so that collectives under way progress.
  void set_poll(Poll poll) { poll_ = std::move(poll); }

  // Adds the gradient of scale * (sum of weight * loss) to the units' gradients. gradient_ready
  // (may be empty) is called for the last unit first and the embedding last; a tied head's gradient
  // is part of the embedding's. Must be called for the last micro-batch of a step alone: give an
  // empty function for the others.
  kernels::HeadLoss forward_backward(const Input& input, double scale,
                                     const GradientReady& gradient_ready);
  // Evaluation. `losses_n`, when given, receives the loss of each of the n rows.
  kernels::HeadLoss forward(const Input& input, at::Tensor* losses_n = nullptr);
  // float32 [rows.numel(), v]: logits of the given rows.
  at::Tensor logits(const at::Tensor& tokens, const kernels::PackedLayout& layout,
                    const at::Tensor& rows);

  // Building blocks for generate/, which runs the same functions of model/block.hpp on rows of its
  // own with a key/value cache. Views into the units: valid as long as the model.
  const BlockWeights& block(int64_t layer) const { return blocks_.at(static_cast<size_t>(layer)); }
  const at::Tensor& embedding() const { return embedding_vd_; }
  const at::Tensor& final_norm() const { return final_norm_d_; }
  const at::Tensor& head() const { return head_vd_; }  // the embedding when tied
  // cos and sin for at least `positions` positions.
  const RopeTable& rope(int64_t positions);

  // Bytes of activations that are allocated now.
  int64_t workspace_bytes() const;

 private:
  // Rows to the final norm's output. `training`: activations are kept for the backward.
  void run_blocks(const at::Tensor& tokens, const kernels::PackedLayout& layout, bool training);
  void backward_block(int64_t layer, const kernels::PackedLayout& layout);

  Shape shape_;
  std::deque<parallel::Unit> units_;
  std::vector<BlockWeights> blocks_;
  std::vector<BlockGrads> grads_;
  at::Tensor embedding_vd_, final_norm_d_, head_vd_;
  at::Tensor embedding_grad_vd_, final_norm_grad_d_, head_grad_vd_;
  RopeTable rope_;
  std::unique_ptr<Workspace> workspace_;
  Poll poll_ = [] {};
};

// Bytes of the workspace of forward_backward for `rows` rows. The head adds its own chunk of logits
// while it runs (kernels::head_loss).
int64_t activation_bytes(const Shape& shape, int64_t rows);

}  // namespace rondo::model

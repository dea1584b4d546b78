// Model: a decoder of the Llama family with explicit forward and backward on packed documents.
//
// Owns its units: unit 0 is the embedding, units 1..layers the blocks, the last one the final norm
// and (unless tied) the head. Every rank of the tensor axis calls with the same micro-batch; each
// computes with its slice of the weights. Activations live in a workspace that is allocated at the
// first call for a number of rows and reused, so that micro-batches touch no fresh memory. Callers
// hold a c10::InferenceMode guard. One thread at a time.
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
#include "model/recompute.hpp"
#include "model/rope.hpp"
#include "model/shape.hpp"
#include "parallel/buffer_pool.hpp"
#include "parallel/mesh.hpp"
#include "parallel/prefetch.hpp"
#include "parallel/unit.hpp"

namespace rondo::model {

// One micro-batch, on the host. References stay valid during the call.
struct Input {
  const at::Tensor& tokens;   // int32 [t], each in [0, vocab): checked by the caller
  const at::Tensor& rows;     // int64 [n], ascending rows that carry weight
  const at::Tensor& labels;   // int64 [n]: the token that each of these rows predicts
  const at::Tensor& weights;  // float32 [n]
  const kernels::PackedLayout& layout;
};

// Called with a unit's index as soon as the micro-batch's gradient is in it.
using GradientReady = std::function<void(size_t unit)>;

class Workspace;
struct Pass;

struct ModelSettings {
  parallel::StateSettings state;
  Recompute recompute;
};

class Model {
 public:
  // Collective over the mesh, which must outlive the model and whose tensor size must fit the shape
  // (check_tensor_size). Weights are not initialised.
  Model(Shape shape, parallel::Mesh& mesh, const ModelSettings& settings);
  // Collective over `group`: whole weights on each of its ranks; with_optimizer: gradients too, and
  // Adam's moments divided over them (ZeRO-1).
  Model(Shape shape, comm::Group& group, bool with_optimizer);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Shape& shape() const { return shape_; }
  size_t unit_count() const { return units_.size(); }
  parallel::Unit& unit(size_t i) { return units_.at(i); }
  const parallel::Unit& unit(size_t i) const { return units_.at(i); }

  parallel::Mesh& mesh() const { return mesh_; }
  const ModelSettings& settings() const { return settings_; }

  // Collective over the shard group. Fresh weights: matrices normal(0, initializer_std), o_proj and
  // down_proj of deviation initializer_std / sqrt(2 * layers) (GPT-2), norms 1, biases 0. The same
  // for every layout.
  void initialise(uint64_t seed);
  void zero_grad();
  // Collective over the shard group. Whole weights everywhere, where ranks keep them whole: after
  // the owned ones were written.
  void gather_weights();

  // Called between operations, so that collectives under way progress.
  void set_poll(Poll poll) { poll_ = std::move(poll); }

  // Each is collective over shard and tensor groups: all their ranks call it equally often, with
  // micro-batches of as many rows (those of the tensor axis with the same).
  // Adds the gradient of scale * (sum of weight * loss) to the units' gradients. gradient_ready
  // (may be empty) is called for the last unit first and the embedding last; a tied head's gradient
  // is part of the embedding's. The losses are the same on every rank of the tensor axis.
  kernels::LossSums forward_backward(const Input& input, double scale,
                                     const GradientReady& gradient_ready);
  // Evaluation. `each`, when given, becomes what is known of each of the n rows, on the host.
  kernels::LossSums forward(const Input& input, kernels::RowLosses* each = nullptr);
  // float32 [rows.numel(), v] on the host: logits of the given rows. One tensor rank alone.
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

  // Bytes of activations that are allocated now, and of buffers for what is whole for a moment.
  int64_t workspace_bytes() const;
  int64_t pool_bytes() const { return pool_.bytes(); }

 private:
  void set_up();
  // A micro-batch whose rows divide over the tensor axis, where the model lies.
  struct Rows {
    at::Tensor host_tokens;
    at::Tensor tokens;
    kernels::PackedLayout layout;
  };
  Rows padded(const at::Tensor& tokens, const kernels::PackedLayout& layout) const;
  Pass begin_pass(const kernels::PackedLayout& layout, bool training);

  at::Device device() const { return settings_.state.device; }
  size_t last_unit() const { return units_.size() - 1; }
  // Units needed at a time, from the embedding to the head, and back.
  std::vector<std::vector<size_t>> uses(bool backward) const;
  // Views of what is whole now.
  void look_at_weights(size_t unit);
  void look_at_grads(size_t unit);

  // Collective over shard and tensor groups. Rows to the final norm's output; `compute` is false
  // where the micro-batch is empty, and only what the other ranks wait for is done.
  void run_blocks(const Pass& pass, const at::Tensor& tokens, parallel::Prefetch& prefetch,
                  bool compute);
  kernels::LossSums run_head(const Pass& pass, const Input& input, double scale, bool training,
                             kernels::RowLosses* each);
  void backward_block(const Pass& pass, int64_t layer);

  std::unique_ptr<parallel::Mesh> own_mesh_;
  parallel::Mesh& mesh_;
  Shape shape_;
  Shape local_;  // heads and ffn of this rank
  ModelSettings settings_;
  parallel::BufferPool pool_;
  std::deque<parallel::Unit> units_;
  std::vector<BlockWeights> blocks_;
  std::vector<BlockGrads> grads_;
  base::Slice ids_;  // of the vocabulary, on this rank
  at::Tensor embedding_vd_, final_norm_d_, head_vd_;
  at::Tensor embedding_grad_vd_, final_norm_grad_d_, head_grad_vd_;
  RopeTable rope_;
  std::unique_ptr<Workspace> workspace_;
  Poll poll_ = [] {};
};

}  // namespace rondo::model

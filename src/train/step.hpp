// One optimizer step: micro-batches forward and backward, gradients summed over ranks, AdamW on the
// owned shards, weights gathered.
//
// Loss of a step = sum of weight_i * ce_i / sum of weight_i over every trainable position of the
// global batch. Gradients are sums; nothing is averaged per rank or micro-batch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "data/batch.hpp"
#include "model/model.hpp"
#include "parallel/optimizer.hpp"
#include "parallel/reduction.hpp"

namespace rondo::train {

// Figures of a step or an evaluation over all ranks.
struct Totals {
  double weighted_loss = 0;
  double weight = 0;
  double correct = 0;  // trainable positions predicted right
  double trainable_tokens = 0;
  double real_tokens = 0;      // without padding
  double attention_pairs = 0;  // of causal attention inside documents
  double flops = 0;            // of the model, forward and backward, causal per document
  double loss() const { return weight > 0 ? weighted_loss / weight : 0; }
};

struct StepResult {
  Totals totals;
  double grad_norm = 0;    // before clipping
  bool updated = true;     // false: nothing was, since something was not finite or refused
  std::string not_finite;  // then: what, and on which rank
  std::string refused;     // or why not, as StepSettings::refuse says
};

struct StepSettings {
  parallel::AdamWSettings adamw;
  int64_t adam_step = 1;  // counted from 1
  double clip = 0;        // largest global norm; 0: none
  // Why a step of this loss and gradient norm, both finite, is not to be applied; empty: it is.
  // Called on every rank, with the same numbers.
  std::function<std::string(double loss, double grad_norm)> refuse = {};
};

// The micro-batches of a step, handed out one after another.
struct StepData {
  double weight = 0;          // sum over all ranks
  int64_t micro_batches = 0;  // of this rank; the same on every rank
  // Micro-batch m; called once for each, in order. What it throws is thrown by the step on every
  // rank, which then has updated nothing.
  std::function<data::PackedBatch(int64_t m)> next{};
  int64_t packs = 0;  // of a micro-batch
  int64_t seq_len = 0;
};

class Stepper {
 public:
  // Both must outlive this; the control's ranks are those of the model's mesh.
  Stepper(model::Model& model, comm::Control& control);

  // Collective over the control's ranks; those of the tensor axis have the same data. When a loss
  // or norm is not finite on any rank nothing is updated on any.
  StepResult run(const StepData& data, const StepSettings& settings);
  // The same of micro-batches in memory; every rank has the same number of them.
  StepResult run(const std::vector<data::PackedBatch>& batches, const StepSettings& settings);

  // Collective over the control's ranks. `before` and the sums of a forward pass over this rank's
  // batches, added one by one in the order of batches and ranks.
  Totals evaluate(const std::vector<data::PackedBatch>& batches, Totals before = {});

 private:
  // Collective over the data group. Adds every field but flops of each rank's `parts` to `totals`,
  // in the order of ranks and parts, then works out flops.
  Totals sum_over_ranks(const std::vector<Totals>& parts, Totals totals = {});
  // Collective over the control's ranks, in the backward of micro-batch m: unit's gradient of it is
  // complete.
  void reduce(size_t unit, int64_t m, int64_t micro_batches);
  // Collective over the mesh. Ends the sums of gradients. On a device their norms are on their way
  // then, for gradient_norm.
  std::vector<parallel::OwnedSquaredNorms> finish_reductions();
  // Collective over the mesh. A unit of this rank that is not finite is told in not_finite.
  double gradient_norm(const std::vector<parallel::OwnedSquaredNorms>& norms,
                       std::string& not_finite);
  bool any_of_tensor_ranks(bool mine);
  std::string who_is_not_finite(const std::string& mine);

  model::Model& model_;
  comm::Control& control_;
  std::vector<parallel::Reduction> reductions_;  // by unit
  int64_t lanes_here_ = 1;                       // reproducible mode: of this rank, else 1
};

}  // namespace rondo::train

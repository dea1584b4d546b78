// A unit: the parameters of one transformer block (or of the embedding, or of the final norm and
// head) as one flat buffer, with its gradients and this rank's shard of the optimizer state.
//
// The ZeRO stage (Rajbhandari et al. 2020) says what a rank holds beside its own shard:
//   0, 1  whole weights, whole gradients        (0: the shard axis has one rank, nothing is
//   divided) 2     whole weights; a gradient is whole only until it has been summed over the ranks
//   3     weights, too, are whole only while a unit is computed with
// All stages run the same lines. Where each element lies: parallel/flat_layout.hpp; how gradients
// are summed: parallel/reduction.hpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/group.hpp"
#include "parallel/buffer_pool.hpp"
#include "parallel/flat_layout.hpp"
#include "parallel/mesh.hpp"

namespace rondo::parallel {

// What a rank keeps of a model's state.
struct StateSettings {
  bool training = false;  // gradients and Adam's moments, beside the weights
  int zero = 1;           // 0 to 3
  // Reproducible mode: the number of lanes, a power of two that the data-parallel size divides; 0:
  // not reproducible. Gradients of lanes are summed by one binary tree over all lanes.
  int64_t lanes = 0;
  // Gradients go to other ranks rounded to bfloat16, half the bytes, and are added up in float32.
  // Not with lanes: what is rounded would depend on the number of ranks.
  bool bf16_exchange = false;
  // Whole weights are of this type, float32 or bfloat16: what is computed with. The owned ones (the
  // master weights) and gradients are float32.
  at::ScalarType compute = at::kFloat;
  at::ScalarType moments = at::kFloat;  // or bfloat16, rounded stochastically
  at::Device device = at::kCPU;

  // Gradients of a unit exist only from its backward until they have been summed over the ranks.
  // Lanes need theirs longer, so reproducible mode keeps them whole at every stage.
  bool transient_grads() const { return zero >= 2 && lanes == 0; }
  bool transient_weights() const { return training && zero >= 3; }
  bool has_master_weights() const { return compute != at::kFloat; }
};

class Unit {
 public:
  // Collective over the mesh. `mesh` and `pool` must outlive the unit.
  Unit(std::string name, std::vector<Parameter> parameters, Mesh& mesh,
       const StateSettings& settings, BufferPool& pool);
  ~Unit();
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

  const std::string& name() const { return name_; }
  const FlatLayout& layout() const { return layout_; }
  const std::vector<Parameter>& parameters() const { return layout_.parameters(); }
  const StateSettings& settings() const { return settings_; }
  Mesh& mesh() const { return mesh_; }

  // --- Whole tensors. Valid from finish_gather() (weights) or begin_grads() (gradients) until
  // release() or reduction where these are transient, else until end_lane().
  // View of local part i in its shape; of its gradient likewise (float32, added to).
  at::Tensor weight(size_t i) const { return joined_weight(i, 1); }
  at::Tensor grad(size_t i) const { return joined_grad(i, 1); }
  // One matrix view over `count` joined parameters from i on: [sum of rows, columns], or [sum] for
  // vectors. Bug when they are not joined.
  at::Tensor joined_weight(size_t i, size_t count) const;
  at::Tensor joined_grad(size_t i, size_t count) const;

  // The whole flat buffers, gaps and padding included.
  const at::Tensor& flat_weights() const { return weights_; }
  const at::Tensor& flat_grads() const { return grads_; }

  // --- This rank's shard. Views; bucket b's part [owned_range(b).size()].
  at::Tensor owned_weights(size_t b) const;
  at::Tensor owned_grads(size_t b) const;
  // Of a segment.
  at::Tensor owned_weights(const OwnedSegment& segment) const;
  at::Tensor owned_grads(const OwnedSegment& segment) const;
  // Adam's moments [layout().shard_numel()], bucket by bucket.
  const at::Tensor& exp_avg() const { return exp_avg_; }
  const at::Tensor& exp_avg_sq() const { return exp_avg_sq_; }
  void reset_moments();

  // --- Weights.
  // Writes the owned weights from (seed, parameter name, element index): the same for every layout.
  // A gather must follow.
  void initialise(uint64_t seed);
  // Before the owned weights are written from outside: waits for a gather that still sends them.
  void end_gather();
  // The owned weights have changed: the whole ones are gathered at the next start_gather().
  void mark_changed() { changed_ = true; }
  // Each is collective over the shard group.
  // Starts to gather the whole weights, where they are not here or have changed; nothing else.
  void start_gather();
  // Starts when that has not been done, and waits.
  void finish_gather();
  // Gives up whole weights where they are transient. Not collective.
  void release();
  // Collective over shard and tensor groups. The whole parameter i in its own shape, float32, on
  // every rank.
  at::Tensor whole(size_t i);

  // --- Gradients.
  // Zero at the start of a step.
  void zero_grads();
  // Before the first write into the gradients of a micro-batch.
  void begin_grads();
  // Reproducible mode: the gradients hold lane `lane` (of this rank's, counted from 0), complete;
  // sums what the binary tree allows. After the last one the gradients hold the sum of all lanes;
  // before, they are zero again.
  void end_lane(int64_t lane, int64_t lanes_here);

  // Bytes that this rank holds between steps: weights, gradients, moments.
  int64_t persistent_bytes() const;

 private:
  friend class Reduction;

  at::Tensor zeros(int64_t numel, at::ScalarType type = at::kFloat) const;
  void gather_bucket(size_t b);
  // Collective over the shard group. Local part i whole, float32.
  at::Tensor whole_local(size_t i);

  std::string name_;
  FlatLayout layout_;
  Mesh& mesh_;
  StateSettings settings_;
  BufferPool& pool_;
  at::Tensor weights_;  // whole; undefined while released
  // Where whole weights are transient, or of another type: the owned ones, float32; else undefined.
  at::Tensor weight_shard_;
  at::Tensor grads_;       // whole; undefined outside of a backward where transient
  at::Tensor grad_shard_;  // where whole gradients are transient: their sums, else undefined
  at::Tensor exp_avg_, exp_avg_sq_;
  std::vector<at::Tensor> lane_sums_;  // of complete subtrees of lanes, by level; some undefined
  bool changed_ = true;
  std::vector<comm::Work> gathering_;
};

// Calls use(parameter, block, segment) for all of the whole parameters that this rank owns:
// block.local counts from the segment's begin. Ranks that hold the same (replicas, tensor copies)
// are given all of it.
template <class Use>
void for_each_owned_block(const Unit& unit, Use&& use) {
  for (const OwnedSegment& segment : unit.layout().segments()) {
    for_each_block(unit.parameters()[segment.parameter], unit.layout().local(segment.parameter),
                   segment.local, [&](StoredBlock block) {
                     block.local -= segment.local.begin;
                     use(segment.parameter, block, segment);
                   });
  }
}

// The same with what several ranks hold divided evenly over them: over the mesh every element comes
// exactly once.
template <class Use>
void for_each_written_block(const Unit& unit, Use&& use) {
  const Place replica = place_in(unit.mesh().replicate());
  for (const OwnedSegment& segment : unit.layout().segments()) {
    const LocalPart& local = unit.layout().local(segment.parameter);
    const base::Slice mine =
        base::even_part(segment.local.size(), int64_t{replica.size} * local.copies,
                        int64_t{replica.rank} * local.copies + local.copy);
    for_each_block(unit.parameters()[segment.parameter], local,
                   {segment.local.begin + mine.begin, segment.local.begin + mine.end},
                   [&](StoredBlock block) {
                     block.local -= segment.local.begin;
                     use(segment.parameter, block, segment);
                   });
  }
}

// The two above, run by run: use(parameter, global, segment, offset), where the elements `global`
// of the flattened parameter lie from `offset` on in the segment.
template <class Use>
auto by_runs(Use&& use) {
  return [&use](size_t parameter, const StoredBlock& block, const OwnedSegment& segment) {
    for (int64_t k = 0; k < block.global.count; ++k) {
      use(parameter, block.global.run(k), segment, block.local + k * block.local_stride);
    }
  };
}
template <class Use>
void for_each_owned_run(const Unit& unit, Use&& use) {
  for_each_owned_block(unit, by_runs(use));
}
template <class Use>
void for_each_written_run(const Unit& unit, Use&& use) {
  for_each_written_block(unit, by_runs(use));
}

}  // namespace rondo::parallel

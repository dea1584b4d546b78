// The sum of one unit's gradients over the ranks, in pieces that run beside the backward of other
// units: over the shard axis (each rank ends with its own part), then over replicas, then over the
// tensor ranks that hold the same parameter but saw other rows or heads of it.
//
// Plain mode: sum_scatter, then all_sum; which rank adds what first is the backend's choice.
// Reproducible mode: all_to_all and one binary tree over the ranks, whose leaves are the trees that
// each rank has made of its own lanes (Unit::end_lane). Since every size divides the number of
// lanes, which is a power of two, the tree over all lanes is the same for every number of ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "comm/group.hpp"
#include "parallel/unit.hpp"

namespace rondo::parallel {

class Reduction {
 public:
  // `unit` must outlive this.
  explicit Reduction(Unit& unit) : unit_(unit) {}

  // Collective over the shard group. The gradients (of a micro-batch where they are transient, else
  // of all of the step's) are complete; not to be touched before advance().
  void start();
  // Collective over the replicate group. Waits for the sums over the shard axis, which are then in
  // (where transient: added to) the owned gradients. `last`: of the step; starts the sums over
  // replicas. Does nothing when nothing has been started.
  void advance(bool last);
  // Collective over the tensor group. Waits for all; the owned gradients are then those of the
  // global batch.
  void finish();

 private:
  bool lanes() const { return unit_.settings_.lanes > 0; }
  void wait_for_all();
  void add_up_lanes(comm::Group& group, size_t b, const at::Tensor& to);
  void start_replicas();
  void finish_replicas();
  void sum_copies();

  enum class State { kIdle, kScattering, kReplicating };

  Unit& unit_;
  State state_ = State::kIdle;
  std::vector<comm::Work> under_way_;
  std::vector<at::Tensor> received_;  // by bucket
};

}  // namespace rondo::parallel

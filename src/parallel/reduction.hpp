// The sum of one unit's gradients over the ranks, in stages that run beside the backward of other
// units: over the shard axis (each rank ends with its own part), then over replicas (each sums a
// piece, which the others then gather), then over the tensor ranks that hold the same parameter but
// saw other rows or heads of it.
//
// Every rank sends each other rank its piece (all_to_all) and adds up what it receives by one
// binary tree over the ranks: the same bits at every run, the bytes of a ring, and with MPI a third
// of the time of its own Ireduce_scatter, which sends everything to one rank. In reproducible mode
// the leaves are the trees that each rank has made of its own lanes (Unit::end_lane); since every
// size divides the number of lanes, which is a power of two, the tree over all lanes is the same
// for every number of ranks. With a bfloat16 exchange what a rank sends is rounded, on each axis.
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

  // Collective over the shard group, or over the replicate group where the former is one rank. The
  // gradients (of a micro-batch where they are transient, else of all of the step's) are complete;
  // not to be touched before they have been summed over the shard axis. `last`: of the step.
  void start(bool last);
  // Collective over the groups. Waits for the present stage and begins the next one; does nothing
  // at the last one. After a start() that was not the last of the step the shard axis is all.
  void advance();
  // Collective over the groups, with the tensor group. Waits for all stages; the owned gradients
  // are then those of the global batch. Does nothing when nothing has been started.
  void finish();

 private:
  enum class Stage { kIdle, kShard, kReplicas, kGather };

  void exchange(comm::Group& group, size_t b, const at::Tensor& whole);
  void add_up(comm::Group& group, size_t b, bool add, const at::Tensor& to);
  void wait_for_all();
  void end_shard();
  void end_replicas();
  void sum_copies();

  Unit& unit_;
  Stage stage_ = Stage::kIdle;
  bool last_ = false;
  std::vector<comm::Work> under_way_;
  std::vector<at::Tensor> sent_, received_;  // by bucket; sent_: the rounded ones, else undefined
};

}  // namespace rondo::parallel

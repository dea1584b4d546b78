// The packs of a training step, or of an evaluation, for this rank.
//
// Order: epoch e visits the packs in an order that is a pure function of (plan hash, seed, e, packs
// of a step), by which ranks have equal work (step_order.hpp). Pack number
// `step * packs_per_step + i` of that order is position i of the step; rank r takes the
// neighbouring positions [r, r + 1) * packs_per_step / size, cut into micro-batches of micro_packs.
// So the order never depends on ranks, micro-batches, threads or a resume. Positions beyond the end
// of the epoch are empty packs: every rank always has the same number of micro-batches.
#pragma once

#include <cstdint>
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include "base/slice.hpp"
#include "data/batch.hpp"
#include "data/packed_set.hpp"

namespace rondo::data {

struct LoaderConfig {
  int64_t packs_per_step = 1;  // over all ranks
  int64_t micro_packs = 1;     // packs of a micro-batch
  int rank = 0;                // among the ranks that read different data
  int size = 1;
  uint64_t seed = 0;
  bool shuffled = true;  // false: packs in their own order, as for an evaluation
  Average average = Average::kTokens;
  bool prefetch = true;  // read the next step in the background
};

// UserError, with the arithmetic, unless packs_per_step is a multiple of size * micro_packs.
void check_batch_arithmetic(int64_t packs_per_step, int64_t micro_packs, int size);

// Every pack once, in its own order, micro_packs per rank and step.
LoaderConfig evaluation_order(int64_t micro_packs, int rank, int size);

class Loader {
 public:
  // `set` must outlive the loader.
  Loader(const PackedSet& set, const LoaderConfig& config);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t steps_per_epoch() const;
  int64_t micro_batches() const;
  // The micro-batches of this rank; step = epoch * steps_per_epoch() + step within the epoch. Then
  // starts to read step + 1 in the background. Rethrows what failed there.
  std::vector<PackedBatch> step(int64_t step);
  // The packs at all positions of a step, over all ranks; kEmptyPack beyond the epoch's end.
  std::vector<int64_t> packs_of(int64_t step);
  // Examples of a step over all ranks, by position and document.
  std::vector<uint64_t> example_ids(int64_t step);
  // Seconds that step() has waited for data since the start.
  double waited_s() const { return waited_s_; }

 private:
  std::vector<PackedBatch> read(int64_t step);

  const PackedSet& set_;
  const LoaderConfig config_;
  double waited_s_ = 0;

  std::mutex order_mutex_;  // guards the next two
  int64_t order_epoch_ = -1;
  std::vector<int64_t> order_;  // of that epoch, step by step; kEmptyPack beyond its end

  // Last, so that its thread ends before what it uses.
  int64_t next_step_ = -1;
  std::future<std::vector<PackedBatch>> next_;
};

}  // namespace rondo::data

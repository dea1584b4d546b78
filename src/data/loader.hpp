// The packs of a training step, or of an evaluation, for this rank.
//
// Order: epoch e visits the packs in an order that is a pure function of (plan hash, seed, e, packs
// of a step), by which ranks have equal work (step_order.hpp). Pack number
// `step * packs_per_step + i` of that order is position i of the step; rank r takes the
// neighbouring positions [r, r + 1) * packs_per_step / size, cut into micro-batches of micro_packs.
// So the order never depends on ranks, micro-batches, threads or a resume. Positions beyond the end
// of the epoch are empty packs: every rank always has the same number of micro-batches.
//
// A thread reads ahead of the training, a bounded number of packs.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
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
  // Packs that are read ahead, in whole micro-batches: at least one, or none with 0.
  int64_t read_ahead = 0;
};

// UserError, with the arithmetic, unless packs_per_step is a multiple of size * micro_packs.
void check_batch_arithmetic(int64_t packs_per_step, int64_t micro_packs, int size);

// UserError when fewer packs than a micro-batch are to be read ahead.
void check_read_ahead(int64_t read_ahead, int64_t micro_packs);

// Every pack once, in its own order, micro_packs per rank and step.
LoaderConfig evaluation_order(int64_t micro_packs, int rank, int size);

class Loader {
 public:
  // `set` must outlive the loader. UserError when read_ahead is less than a micro-batch.
  Loader(const PackedSet& set, const LoaderConfig& config);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t steps_per_epoch() const;
  int64_t micro_batches() const;
  // Micro-batch m of this rank; step = epoch * steps_per_epoch() + step within the epoch. Those
  // behind it are then read in the background. Rethrows what failed there.
  PackedBatch micro_batch(int64_t step, int64_t m);
  // All of them.
  std::vector<PackedBatch> step(int64_t step);
  // Sum of the weights of a step over all ranks.
  double weight(int64_t step);
  // The packs at all positions of a step, over all ranks; kEmptyPack beyond the epoch's end.
  std::vector<int64_t> packs_of(int64_t step);
  // Examples of a step over all ranks, by position and document.
  std::vector<uint64_t> example_ids(int64_t step);
  // Seconds that micro_batch() has waited for data since the start.
  double waited_s() const { return waited_s_; }
  // The most packs that were read ahead at any time, those being read included.
  int64_t most_read_ahead();

 private:
  struct Ahead {
    PackedBatch batch;
    std::exception_ptr failed;
  };
  PackedBatch read(
      int64_t number);  // micro-batch m of step s has the number s * micro_batches() + m
  void read_ahead();

  const PackedSet& set_;
  const LoaderConfig config_;
  double waited_s_ = 0;

  struct EpochOrder {
    int64_t epoch = -1;
    std::vector<int64_t> packs{};  // step by step; kEmptyPack beyond the epoch's end
  };
  std::mutex order_mutex_;  // guards the next one
  // Of an even epoch and of an odd one: the training may be in one while the next is read.
  std::array<EpochOrder, 2> orders_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Ahead> ahead_;  // from number first_ on
  int64_t first_ = 0;
  int64_t generation_ = 0;  // rises when reading begins at another place
  int64_t most_ahead_ = 0;  // micro-batches
  bool ends_ = false;
  // Last, so that it ends before what it uses.
  std::thread thread_;
};

}  // namespace rondo::data

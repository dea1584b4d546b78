// The order in which an epoch takes the packs, and who takes them.
//
// Packs are put in a seeded order and cut into steps. The packs of a step are then split into
// halves of equally many packs that cost alike, the halves into quarters, and so on by the prime
// factors of their number: attention costs a pack the sum of the squares of its documents' lengths.
// A data-parallel rank takes a neighbouring part of the step, so that one order balances every
// number of ranks, and the lanes in whose order gradients are summed, whatever their number. Pure:
// no files, no ranks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/pack_plan.hpp"

namespace rondo::data {

// What attention costs a document of so many tokens, in units that only comparisons need.
inline double attention_cost(int64_t length) {
  return static_cast<double>(length) * static_cast<double>(length);
}

// By pack. `lengths`: of the documents that the plan numbers.
std::vector<double> attention_costs(const PackPlan& plan, std::span<const int32_t> lengths);

struct StepOrder {
  int64_t packs_per_step = 1;
  uint64_t seed = 0;
  std::string plan_hash{};
};

// Places of the epoch: place step * packs_per_step + i holds a pack, or -1 beyond the epoch's end.
// `costs`: by pack.
std::vector<int64_t> order_of_epoch(const StepOrder& order, std::span<const double> costs,
                                    int64_t epoch);

// How much the dearest of `parts` neighbouring parts of a step costs over their mean; 1 is balance.
// Over the whole steps of an epoch. `places`: as above.
struct Imbalance {
  double mean = 1;
  double worst = 1;
};
Imbalance imbalance_of(std::span<const int64_t> places, std::span<const double> costs,
                       int64_t packs_per_step, int64_t parts);

// The seeded order before the packs are dealt, for comparison.
std::vector<int64_t> seeded_order(const StepOrder& order, int64_t packs, int64_t epoch);

}  // namespace rondo::data

// The order in which an epoch takes the packs, and who takes them: steps, and lanes within a step.
//
// Packs are put in a seeded order and cut into steps. The packs of a step are then dealt to `lanes`
// lanes of equally many packs, so that lanes cost alike: attention costs a pack the sum of the
// squares of its documents' lengths. A data-parallel rank takes neighbouring lanes, so that one
// order balances every number of ranks that divides the lanes, and its gradients can be summed in
// the same order for all of them. Within a lane packs are dealt again, by the factors of their
// number, for ranks that take parts of lanes. Pure: no files, no ranks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rondo::data {

// What attention costs a document of so many tokens, in units that only comparisons need.
inline double attention_cost(int64_t length) {
  return static_cast<double>(length) * static_cast<double>(length);
}

struct StepOrder {
  int64_t packs_per_step = 1;
  int64_t lanes = 1;  // divides packs_per_step
  uint64_t seed = 0;
  std::string plan_hash;
};

// The lanes that are dealt to: `wanted`, a power of two, or the largest one below that divides the
// packs of a step.
int64_t lanes_of(int64_t packs_per_step, int64_t wanted);

// Places of the epoch: place step * packs_per_step + i holds a pack, or -1 beyond the epoch's end;
// lane l of a step has the neighbouring places [l, l + 1) * packs_per_step / lanes. `costs`: by
// pack.
std::vector<int64_t> order_of_epoch(const StepOrder& order, std::span<const double> costs,
                                    int64_t epoch);

// How much the dearest lane of a step costs over the mean of its lanes; 1 is balance. Over the
// whole steps of an epoch. `places`: as above.
struct Imbalance {
  double mean = 1;
  double worst = 1;
};
Imbalance imbalance_of(std::span<const int64_t> places, std::span<const double> costs,
                       int64_t packs_per_step, int64_t lanes);

// The seeded order before the packs are dealt, for comparison.
std::vector<int64_t> seeded_order(const StepOrder& order, int64_t packs, int64_t epoch);

}  // namespace rondo::data

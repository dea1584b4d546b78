// How many optimizer steps rounds have, and which of them share a schedule. Pure arithmetic.
#pragma once

#include <cstdint>
#include <vector>

#include "train/config.hpp"

namespace rondo::train {

// The rounds that share one schedule with round i (optimizer_state: carry), i among them, in order.
// Their lengths, and so their data, fix its learning rates.
std::vector<size_t> schedule_mates(const std::vector<RoundSection>& rounds, size_t i);

class RoundLengths {
 public:
  // `packs[i]`: packs of an epoch of round i. `rounds` must outlive this.
  RoundLengths(const std::vector<RoundSection>& rounds, std::vector<int64_t> packs)
      : rounds_(rounds), packs_(std::move(packs)) {}

  // The last step of an epoch may be short; it counts.
  int64_t steps_per_epoch(size_t i) const;
  // By `steps`, `tokens` (rounded up to whole steps) or `epochs` (default one); at least 1.
  int64_t steps(size_t i) const;
  // Of rounds [first, i) together.
  int64_t steps_since(size_t first, size_t i) const;
  // Rounds that carry the optimizer state on share the schedule of the first of them.
  size_t schedule_round(size_t i) const;
  int64_t schedule_steps(size_t i) const;

 private:
  const std::vector<RoundSection>& rounds_;
  std::vector<int64_t> packs_;
};

}  // namespace rondo::train

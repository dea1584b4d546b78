#include "train/round_lengths.hpp"

#include <algorithm>
#include <cmath>

#include "base/slice.hpp"

namespace rondo::train {

std::vector<size_t> schedule_mates(const std::vector<RoundSection>& rounds, size_t i) {
  const auto carries = [&](size_t k) { return rounds.at(k).optimizer_state == "carry"; };
  while (carries(i)) --i;
  std::vector<size_t> mates = {i++};
  for (; i < rounds.size() && carries(i); ++i) mates.push_back(i);
  return mates;
}

int64_t RoundLengths::steps_per_epoch(size_t i) const {
  return base::ceil_div(packs_.at(i), rounds_.at(i).batch.value.packs);
}

int64_t RoundLengths::steps(size_t i) const {
  const RoundSection& round = rounds_.at(i);
  const BatchSection& batch = round.batch.value;
  if (round.steps) return *round.steps;
  // With shares, `tokens` says how much is drawn, and an epoch is all of it.
  if (round.tokens && round.shares.empty())
    return base::ceil_div(*round.tokens, batch.packs * batch.seq_len);
  const double steps = round.epochs.value_or(1.0) * static_cast<double>(steps_per_epoch(i));
  // 0.1 epochs of 30 steps are 3 steps, whatever binary fractions make of it.
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(steps - 1e-9)));
}

int64_t RoundLengths::steps_since(size_t first, size_t i) const {
  int64_t total = 0;
  for (; first < i; ++first) total += steps(first);
  return total;
}

size_t RoundLengths::schedule_round(size_t i) const { return schedule_mates(rounds_, i).front(); }

int64_t RoundLengths::schedule_steps(size_t i) const {
  const auto mates = schedule_mates(rounds_, i);
  return steps_since(mates.front(), mates.back() + 1);
}

}  // namespace rondo::train

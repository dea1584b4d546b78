// Results that gates have set aside, out of the way of later starts.
#pragma once

#include "train/config.hpp"
#include "train/outcomes.hpp"

namespace rondo::train {

// Called on rank 0; does the same when it is done again after a kill. Moves the checkpoints at the
// ends of rounds that `outcomes` do not allow to <run folder>/aside/ROUND.ATTEMPT/checkpoint, with
// the metrics of their steps, and removes the other checkpoints of these rounds.
void put_aside(const Config& config, const Outcomes& outcomes);

}  // namespace rondo::train

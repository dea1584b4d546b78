// What follows the last step of a round, whose checkpoint is there: held-out losses, gate, Hugging
// Face folder, ledger line. Each does the same when it is done again after a kill.
#pragma once

#include <cstddef>
#include <string>

#include "train/run_parts.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

enum class AfterRound {
  kGoOn,      // with the next round, where there is one
  kStopped,   // on request
  kGateEnds,  // the run ends here
};

// All are collective over all ranks.

// The held-out losses of the model as it is become row `name` of the matrix. False when a stop has
// cut it short.
bool evaluate_row(const RunParts& parts, RunState& state, const std::string& name);

AfterRound finish_round(const RunParts& parts, size_t round, RunState& state);

// Why there is nothing to do: the last round has ended, or a gate has ended the run. Empty when
// there is. The matrix takes the row of that round from the ledger.
std::string why_finished(const RunParts& parts, RunState& state);

}  // namespace rondo::train

// What follows the last step of a round, whose checkpoint is there: held-out losses, gate, Hugging
// Face folder, ledger line. Each does the same when it is done again after a kill.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "train/run_parts.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

enum class AfterRound {
  kGoOn,          // with the next round, where there is one
  kStopped,       // on request
  kEnded,         // by a gate: the run ends here
  kSetAside,      // by a gate: the run goes on from the round before
  kNeedsCommand,  // commands.json names what a gate has to have run first
};

// All are collective over all ranks.

// The held-out losses of the model as it is become row `name` of the matrix. False when a stop has
// cut it short.
bool evaluate_row(const RunParts& parts, RunState& state, const std::string& name);

AfterRound finish_round(const RunParts& parts, size_t round, RunState& state);

// The row of the round that `state` is at the end of, from its line in the ledger, where it has
// one: a checkpoint is older than the evaluation that follows it. Returns that line, or null.
nlohmann::json take_row(const RunParts& parts, RunState& state);

// Why there is nothing to do: the last round that stands has ended, or a gate has ended the run.
//
// Empty when there is; else as take_row().
std::string why_finished(const RunParts& parts, RunState& state);

}  // namespace rondo::train

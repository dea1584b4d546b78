// Rejection sampling: a round's examples made of a model's right answers (sources.NAME.samples).
//
// In <run folder>/rounds/ROUND/samples/:
//   SOURCE.HASH.parts/00000.h5        completions of some questions (docs/formats/generated.md)
//   SOURCE.HASH.questions.jsonl       for a command: {"id", "prompt", "completion", "answer"}
//   SOURCE.HASH.COMMAND.verdicts.jsonl   what it said: {"id", "right"}
//   SOURCE.h5                         the examples (docs/formats/tokenized.md)
//
// HASH is of the questions, the weights that answer and the settings: what was made for others is
// never taken. The same examples come out for every number of ranks, and after a kill anywhere.
#pragma once

#include <cstddef>

#include "train/run_parts.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

enum class Made {
  kAll,
  kStopped,       // on request; what is made stays
  kNeedsCommand,  // commands.json names what has to be run first (train/commands.hpp)
};

// Collective over all ranks. Before the first step of a round: makes what its sources with
// `samples` lack. The model holds the weights of the round before; afterwards those of the last
// model that answered, and `weights_changed` says whether they are others.
Made make_samples(const RunParts& parts, size_t round, const RunState& state,
                  bool& weights_changed);

}  // namespace rondo::train

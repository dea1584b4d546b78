// Held-out questions that the model answers itself: the share of right answers (exact match).
#pragma once

#include <optional>
#include <string>

#include "generate/over_ranks.hpp"
#include "train/run_parts.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

// UserError where a run wants completions and its model lies so that it makes none.
void check_completions(const Config& config, const model::Model& model);

// Collective over all ranks. Completions by the model of a run, on every rank.
std::vector<generate::Completion> complete(const RunParts& parts, const generate::Options& options,
                                           int64_t count, const generate::ReadPrompts& read);

// Collective over all ranks. Of a held-out source: greedy answers to at most evaluate.answers of
// its questions (a seeded choice), as sources.NAME.verify judges them. Nothing when a stop has cut
// it short.
std::optional<double> share_answered_right(const RunParts& parts, const HeldoutData& heldout,
                                           const RunState& state);

}  // namespace rondo::train

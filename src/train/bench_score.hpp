// Scoring against evaluation: the same batches through Stepper::evaluate and score_examples, by
// turns, so that a machine whose speed wanders is compared with itself.
#pragma once

#include <nlohmann/json.hpp>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "train/bench_step.hpp"

namespace rondo::train {

// Collective over the group and the control's ranks. As many examples of `document` tokens as the
// settings' packs hold, the second half of each trained, in batches of micro_packs * seq_len
// tokens. Evaluation finds its batches in memory; scoring lays them out and reads them again each
// time, and brings its columns to every rank. Medians over `steps` turns, after two that do not
// count; the ratios are of turns. With IFD more tokens are computed, which its rate counts.
nlohmann::json bench_score(const BenchStepSettings& settings, comm::Group& group,
                           comm::Control& control);

}  // namespace rondo::train

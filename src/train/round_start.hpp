// Where the weights of a round start (rounds[].init).
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "comm/control.hpp"
#include "model/shape.hpp"
#include "train/run_parts.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

// Collective over all ranks. The base model's weights.
void load_base(const Config& config, model::Model& model, comm::Control& control,
               base::Console& console);

// Collective over all ranks. UserError for a checkpoint from which a round from `first` on starts,
// or that it averages, that is not there or of another model: before hours go into the rounds
// before. One that this run is still to write cannot be looked at yet.
void check_inits(const Config& config, const model::Shape& shape, size_t first,
                 comm::Control& control);

// Collective over all ranks. The weights that `init` of round `round` names, into the model, which
// holds those of the round before unless `changed`; `changed` then says whether it holds others.
// Returns what they were made of; nothing when a stop has cut it short.
std::optional<std::vector<Parent>> start_weights(const RunParts& parts, const Init& init,
                                                 size_t round, const RunState& state,
                                                 bool& changed);

}  // namespace rondo::train

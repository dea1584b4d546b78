// The Hugging Face folder that a round ends with.
#pragma once

#include <string>

#include "model/model.hpp"
#include "train/config.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

std::string exported_folder(const Config& config, const RoundSection& round);

// Collective over all ranks. Writes the model to `target` in place of what an earlier start left
// there, with the tokenizer's files, the chat template and the end-of-turn ids it was trained by.
void export_round(const Config& config, const RunState& state, model::Model& model,
                  const std::string& target, comm::Control& control);

}  // namespace rondo::train

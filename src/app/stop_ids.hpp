// Ids at which generation stops where the user names none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "model/shape.hpp"

namespace rondo::app {

// Collective over all ranks of `control`. The prompts' end-of-turn id (-1: none), the one that a
// checkpoint was trained with, and those that generation_config.json, config.json and the
// tokenizer's files of the model's folder (or of the checkpoint's tokenizer) name: what an exported
// model stops at too. Ids outside of the vocabulary are left out; no id is there twice.
std::vector<int32_t> default_stop_ids(const std::string& model, int64_t end_of_turn_of_prompts,
                                      const model::Shape& shape, comm::Control& control);

}  // namespace rondo::app

// Prompts for generation out of a tokenised file.
#pragma once

#include <cstdint>
#include <vector>

#include "base/slice.hpp"
#include "data/tokenized.hpp"
#include "generate/generator.hpp"
#include "model/shape.hpp"

namespace rondo::app {

struct PromptFigures {
  int64_t count = 0;     // those to complete
  int64_t longest = 0;   // tokens
  int64_t too_long = 0;  // fill all positions of the model: no completion
};

// Of the first `max_examples` examples (0: of all). UserError when there is none, or one has an
// empty prompt.
PromptFigures look_at_prompts(const data::TokenizedFile& file, int64_t max_examples,
                              const model::Shape& shape);

// Prompts of the examples in `range`, their indices those of the examples.
std::vector<generate::Prompt> read_prompts(const data::TokenizedFile& file, base::Slice range);

}  // namespace rondo::app

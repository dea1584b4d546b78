// From logits to the next token: greedy, or drawn from the softmax cut by temperature, top_k and
// top_p (Holtzman et al. 2020), in this order, as Hugging Face transformers does it.
#pragma once

#include <cstdint>
#include <span>

#include "base/random.hpp"

namespace rondo::generate {

struct Sampling {
  double temperature = 0;  // logits are divided by it; 0: the most likely token, always
  int64_t top_k = 0;       // only the k most likely tokens; 0: all
  double top_p = 1;        // only the most likely tokens that together reach this probability
  uint64_t seed = 1;

  bool greedy() const { return temperature == 0; }
  // UserError for a value outside of its range.
  void validate() const;
};

// Of equally likely tokens the lower id counts as the more likely one. The draw is uniform number
// `position` of `random`, so that it does not depend on what else is generated. UserError when a
// logit is not finite.
int32_t choose_token(std::span<const float> logits, const Sampling& sampling,
                     const base::Random& random, uint64_t position);

// Logarithm of the softmax of `logits` at `token`.
double log_probability(std::span<const float> logits, int32_t token);

}  // namespace rondo::generate

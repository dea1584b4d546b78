// Completions of prompts: batched decoding with a fixed number of slots, in which a waiting prompt
// takes the place of a finished one.
//
// A completion is a function of the model, the prompt, its index and the options alone: it depends
// neither on the other prompts nor on the number of ranks. Callers hold a c10::InferenceMode guard.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "generate/sampling.hpp"
#include "model/model.hpp"

namespace rondo::generate {

struct Options {
  Sampling sampling = {};
  int64_t max_new_tokens = 128;
  int64_t slots = 16;                   // sequences at a time
  std::vector<int32_t> stop_ids = {};   // each ends a completion and is not part of it
  bool with_log_probabilities = false;  // costs a softmax over the vocabulary for each token
  // UserError for a value outside of its range.
  void validate() const;
};

struct Prompt {
  uint64_t index = 0;  // keys the random numbers: its number among all prompts, on all ranks
  std::vector<int32_t> tokens;  // at least one, each in [0, vocab): checked by the caller
};

struct Completion {
  std::vector<int32_t> tokens;
  bool finished = false;  // ended by a stop id, not by a limit
  // Of all tokens, the stop id included, under the model (temperature 1, nothing cut); 0 unless
  // options.with_log_probabilities.
  double log_probability = 0;
  bool operator==(const Completion&) const = default;
};

// Called after each step with completed prompts and new tokens so far.
using Progress = std::function<void(int64_t prompts, int64_t tokens)>;

class Generator {
 public:
  Generator(const model::Model& model, Options options);
  const Options& options() const { return options_; }

  // Tokens that a cache slot needs for prompts of at most `longest_prompt` tokens: those and the
  // new ones, but never more than the model has positions.
  int64_t slot_tokens(int64_t longest_prompt) const;
  // Bytes of the cache for such prompts.
  int64_t cache_bytes(int64_t longest_prompt) const;

  // Completions in the order of the prompts. One that reaches the model's last position ends there,
  // not finished; a prompt that fills all positions gets none.
  std::vector<Completion> run(std::span<const Prompt> prompts, const Progress& progress = {}) const;

 private:
  const model::Model& model_;
  Options options_;
};

}  // namespace rondo::generate

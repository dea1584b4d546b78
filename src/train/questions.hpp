// Questions with known answers: examples of a tokenised source, each cut where its first trained
// token stands.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/pack_inputs.hpp"
#include "data/token_text.hpp"
#include "generate/generator.hpp"

namespace rondo::train {

// One example, whole.
struct Conversation {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> codes;  // by token, in the weight table of the inputs
};

class Questions {
 public:
  // Called on every rank. The examples that can be packed of the one source of `request`: all, or a
  // seeded choice of at most `most` (0: all). `stops`: ids that end turns besides that of the
  // files. UserError when the files name none.
  Questions(const data::PackRequest& request, int64_t most, uint64_t seed,
            const std::vector<int64_t>& stops);

  int64_t count() const { return std::ssize(examples_); }
  const data::PackInputs& inputs() const { return inputs_; }
  // Numbers in inputs(), ascending.
  const std::vector<int64_t>& examples() const { return examples_; }
  uint64_t example_id(int64_t question) const { return inputs_.example_id(example(question)); }
  const std::vector<int32_t>& stop_ids() const { return stop_ids_; }
  int32_t end_of_turn() const { return end_of_turn_; }
  // Of the questions, their order, and the tokenizer.
  const std::string& hash() const { return hash_; }

  Conversation conversation(int64_t question) const;
  int64_t prompt_length(int64_t question) const {
    return prompt_lengths_[static_cast<size_t>(question)];
  }
  std::vector<int32_t> prompt(int64_t question) const;
  // The trained turn behind the prompt, without what ends it.
  std::vector<int32_t> answer(int64_t question) const;

 private:
  int64_t example(int64_t question) const { return examples_[static_cast<size_t>(question)]; }

  data::PackInputs inputs_;
  std::vector<int64_t> examples_;
  std::vector<int64_t> prompt_lengths_;
  std::vector<int32_t> stop_ids_;
  int32_t end_of_turn_ = 0;
  std::string hash_;
};

// Their text, without control tokens.
std::string text_of(std::span<const int32_t> tokens, const data::TokenText& text);

}  // namespace rondo::train

#include "train/questions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/random.hpp"
#include "data/choose.hpp"

namespace rondo::train {

namespace {

std::vector<int64_t> usable(const data::PackRequest& request, const data::PackInputs& inputs) {
  const auto trained = inputs.count_trained({0, inputs.examples()}, request.seq_len);
  data::PackReport unused;
  return data::usable_examples(request, inputs, trained, unused).front();
}

// A seeded choice, ascending.
std::vector<int64_t> choice(const std::vector<int64_t>& examples, int64_t most, uint64_t seed) {
  const auto order =
      base::Random(seed, "questions").permutation(static_cast<int64_t>(examples.size()));
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < most; ++i) {
    chosen.push_back(examples[static_cast<size_t>(order[static_cast<size_t>(i)])]);
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace

Questions::Questions(const data::PackRequest& request, int64_t most, uint64_t seed,
                     const std::vector<int64_t>& stops)
    : inputs_(data::PackInputs::open(request)), examples_(usable(request, inputs_)) {
  if (most > 0 && most < std::ssize(examples_)) examples_ = choice(examples_, most, seed);
  const data::TokenizedFile& file = inputs_.files().front();
  if (file.info().end_of_turn_id < 0) {
    base::fail_user(
        "sources.{}: {} names no token that ends a turn, so that no completion of its questions "
        "would end. Tokenise it with a chat template.",
        request.sources.front().name, file.path());
  }
  end_of_turn_ = static_cast<int32_t>(file.info().end_of_turn_id);
  std::set<int64_t> ids(stops.begin(), stops.end());
  ids.insert(end_of_turn_);
  for (const int64_t id : ids) stop_ids_.push_back(static_cast<int32_t>(id));
  base::Hasher hash;
  for (int64_t i = 0; i < count(); ++i) {
    const Conversation whole = conversation(i);
    const auto first = std::ranges::find_if(
        whole.codes, [&](uint8_t code) { return inputs_.weight_table()[code] != 0; });
    prompt_lengths_.push_back(first - whole.codes.begin());
    hash.add(fmt::format("{} ", example_id(i)));
  }
  hash.add(inputs_.tokenizer_hash());
  hash_ = hash.hex();
}

Conversation Questions::conversation(int64_t question) const {
  const auto length = static_cast<size_t>(inputs_.length(example(question)));
  Conversation whole{std::vector<int32_t>(length), std::vector<uint8_t>(length)};
  std::vector<uint8_t> next(length);
  inputs_.read(example(question), whole.tokens, next);
  whole.codes[0] = 0;
  std::copy(next.begin(), next.end() - 1, whole.codes.begin() + 1);
  return whole;
}

std::vector<int32_t> Questions::prompt(int64_t question) const {
  std::vector<int32_t> tokens = conversation(question).tokens;
  tokens.resize(static_cast<size_t>(prompt_length(question)));
  return tokens;
}

std::vector<int32_t> Questions::answer(int64_t question) const {
  const std::vector<int32_t> tokens = conversation(question).tokens;
  const auto begin = tokens.begin() + prompt_length(question);
  const auto end = std::find_if(begin, tokens.end(), [&](int32_t token) {
    return std::ranges::find(stop_ids_, token) != stop_ids_.end();
  });
  return {begin, end};
}

std::string text_of(std::span<const int32_t> tokens, const data::TokenText& text) {
  std::string all;
  for (const int32_t token : tokens) {
    if (!text.is_special(token)) all += text.bytes(token);
  }
  return all;
}

}  // namespace rondo::train

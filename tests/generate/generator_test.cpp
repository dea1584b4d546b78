#include "generate/generator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "generate/decoder.hpp"
#include "generate/models.hpp"
#include "support/close.hpp"

namespace rondo::generate {
namespace {

using test::complete_without_cache;
using test::next_logits;
using test::random_prompts;
using test::tiny_shape;
using test::TinyModel;

std::vector<Completion> run(const model::Model& model, const Options& options,
                            const std::vector<Prompt>& prompts) {
  return Generator(model, options).run(prompts);
}

TEST(Generator, GreedyEqualsAFullForwardForEachToken) {
  const c10::InferenceMode guard;
  uint64_t seed = 1;
  for (const model::Shape& shape : test::all_kinds_of_shapes()) {
    TinyModel tiny(shape, seed++);
    const Options options{.max_new_tokens = 20, .slots = 3, .stop_ids = {3, 9}};
    const auto prompts = random_prompts(9, 12, shape.vocab);
    const auto completions = run(tiny.model, options, prompts);
    ASSERT_EQ(completions.size(), prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(completions[i], complete_without_cache(tiny.model, options, prompts[i]))
          << "shape " << seed - 1 << ", prompt " << i;
    }
  }
}

TEST(Generator, LogitsOfStepsEqualThoseOfAFullForward) {
  const c10::InferenceMode guard;
  for (const model::Shape& shape : test::all_kinds_of_shapes()) {
    TinyModel tiny(shape);
    Decoder decoder(tiny.model, 2, 30);
    std::vector<int32_t> tokens = {5, 1, 7, 7};
    EXPECT_LT(test::relative_error(decoder.start(1, tokens), next_logits(tiny.model, tokens)),
              2e-6);
    for (int32_t token = 10; token < 20; ++token) {
      tokens.push_back(token);
      const at::Tensor logits = decoder.step(std::vector<int32_t>{0, token})[1];
      EXPECT_LT(test::relative_error(logits, next_logits(tiny.model, tokens)), 1e-5);
    }
  }
}

// To the last bit, which the sum of log-probabilities shows.
TEST(Generator, ACompletionDoesNotDependOnItsNeighboursOrSlots) {
  const c10::InferenceMode guard;
  for (const double temperature : {0.0, 0.8}) {
    TinyModel tiny(tiny_shape());
    Options options{.sampling = {.temperature = temperature},
                    .max_new_tokens = 15,
                    .slots = 4,
                    .stop_ids = {3},
                    .with_log_probabilities = true};
    const auto prompts = random_prompts(11, 20, tiny.model.shape().vocab);
    const auto together = run(tiny.model, options, prompts);
    for (const int64_t slots : {1, 2, 16}) {
      options.slots = slots;
      EXPECT_EQ(run(tiny.model, options, prompts), together) << slots << " slots";
    }
    std::vector<Prompt> backwards(prompts.rbegin(), prompts.rend());
    auto reversed = run(tiny.model, options, backwards);
    std::ranges::reverse(reversed);
    EXPECT_EQ(reversed, together);
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(run(tiny.model, options, {prompts[i]}).front(), together[i]) << "prompt " << i;
    }
  }
}

TEST(Generator, SamplesDifferByIndexAndSeed) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  Options options{.sampling = {.temperature = 2}, .max_new_tokens = 20};
  const std::vector<int32_t> tokens = {4, 8};
  const std::vector<Prompt> prompts = {{0, tokens}, {1, tokens}};
  const auto first = run(tiny.model, options, prompts);
  EXPECT_NE(first[0].tokens, first[1].tokens);
  EXPECT_EQ(run(tiny.model, options, prompts), first);
  options.sampling.seed = 2;
  EXPECT_NE(run(tiny.model, options, prompts)[0].tokens, first[0].tokens);
}

TEST(Generator, FirstTokensFollowTheModelsDistribution) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  const std::vector<int32_t> tokens = {4, 8};
  constexpr int64_t kSamples = 4000;
  std::vector<Prompt> prompts;
  for (uint64_t i = 0; i < kSamples; ++i) prompts.push_back({i, tokens});
  const Options options{.sampling = {.temperature = 1}, .max_new_tokens = 1};
  at::Tensor found = at::zeros({tiny.model.shape().vocab}, at::kDouble);
  for (const Completion& completion : run(tiny.model, options, prompts)) {
    found[completion.tokens.at(0)] += 1.0 / kSamples;
  }
  const at::Tensor p = next_logits(tiny.model, tokens).to(at::kDouble).softmax(0);
  const at::Tensor deviation = (p * (1 - p) / kSamples).sqrt();
  EXPECT_LT(((found - p).abs() / (deviation + 1e-4)).max().item<double>(), 5);
}

TEST(Generator, LogProbabilityIsThatOfAFullForward) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  const Options options{.max_new_tokens = 6, .with_log_probabilities = true};
  const Prompt prompt{0, {1, 2, 3}};
  const Completion completion = run(tiny.model, options, {prompt}).front();
  ASSERT_EQ(completion.tokens.size(), 6U);
  std::vector<int32_t> tokens = prompt.tokens;
  double expected = 0;
  for (const int32_t token : completion.tokens) {
    expected += next_logits(tiny.model, tokens).log_softmax(0)[token].item<double>();
    tokens.push_back(token);
  }
  EXPECT_NEAR(completion.log_probability, expected, 1e-4);
}

TEST(Generator, StopsBeforeTheStopId) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  const Prompt prompt{0, {1, 2, 3}};
  const Completion free = run(tiny.model, {.max_new_tokens = 12}, {prompt}).front();
  ASSERT_EQ(free.tokens.size(), 12U);
  EXPECT_FALSE(free.finished);
  const int32_t stop = free.tokens[4];
  const auto first = std::ranges::find(free.tokens, stop);
  const Completion stopped =
      run(tiny.model, {.max_new_tokens = 12, .stop_ids = {60, stop}}, {prompt}).front();
  EXPECT_TRUE(stopped.finished);
  EXPECT_EQ(stopped.tokens, std::vector<int32_t>(free.tokens.begin(), first));
}

TEST(Generator, AStopIdAtOnceGivesAnEmptyFinishedCompletion) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  const Prompt prompt{0, {1, 2, 3}};
  const int32_t stop = run(tiny.model, {.max_new_tokens = 1}, {prompt}).front().tokens.at(0);
  const Completion completion = run(tiny.model, {.stop_ids = {stop}}, {prompt}).front();
  EXPECT_TRUE(completion.tokens.empty());
  EXPECT_TRUE(completion.finished);
}

TEST(Generator, EndsAtTheModelsLastPosition) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  const int64_t positions = tiny.model.shape().max_seq;
  std::vector<Prompt> prompts;
  for (const int64_t length : {positions - 10, positions - 1, positions, positions + 5}) {
    prompts.push_back({0, std::vector<int32_t>(static_cast<size_t>(length), 7)});
  }
  const Options options{.max_new_tokens = std::numeric_limits<int64_t>::max(), .slots = 2};
  const auto completions = run(tiny.model, options, prompts);
  EXPECT_EQ(completions[0].tokens.size(), 10U);
  EXPECT_EQ(completions[1].tokens.size(), 1U);
  EXPECT_TRUE(completions[2].tokens.empty());
  EXPECT_TRUE(completions[3].tokens.empty());
  for (const Completion& completion : completions) EXPECT_FALSE(completion.finished);
  EXPECT_EQ(completions[0], complete_without_cache(tiny.model, options, prompts[0]));
}

TEST(Generator, TellsItsProgress) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  const auto prompts = random_prompts(7, 5, tiny.model.shape().vocab);
  int64_t ended = 0;
  int64_t tokens = 0;
  const Generator generator(tiny.model, {.max_new_tokens = 4, .slots = 2});
  const auto completions = generator.run(prompts, [&](int64_t so_far, int64_t tokens_so_far) {
    EXPECT_GE(so_far, ended);
    EXPECT_GT(tokens_so_far, tokens);
    ended = so_far;
    tokens = tokens_so_far;
  });
  EXPECT_EQ(ended, 7);
  EXPECT_EQ(tokens, 7 * 4);
  EXPECT_TRUE(generator.run({}).empty());
}

TEST(Generator, RefusesWrongOptionsAndDamagedWeights) {
  const c10::InferenceMode guard;
  TinyModel tiny(tiny_shape());
  EXPECT_THROW(Generator(tiny.model, {.max_new_tokens = 0}), base::UserError);
  EXPECT_THROW(Generator(tiny.model, {.slots = 0}), base::UserError);
  EXPECT_THROW(Generator(tiny.model, {.sampling = {.top_p = 2}}), base::UserError);
  tiny.model.unit(1).weight(1).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THROW(run(tiny.model, {}, {{0, {1, 2}}}), base::UserError);
}

TEST(Generator, CacheHoldsSlotsTimesLengthAtMost) {
  TinyModel tiny(tiny_shape());
  const model::Shape& shape = tiny.model.shape();
  const Generator generator(tiny.model, {.max_new_tokens = 20, .slots = 3});
  EXPECT_EQ(generator.slot_tokens(10), 30);
  EXPECT_EQ(generator.slot_tokens(60), shape.max_seq);
  EXPECT_EQ(generator.slot_tokens(90), shape.max_seq);
  // Keys and values, layers, slots, tokens, width, bytes of a float.
  EXPECT_EQ(generator.cache_bytes(10), 2 * shape.layers * 3 * 30 * 2 * 12 * 4);
}

}  // namespace
}  // namespace rondo::generate

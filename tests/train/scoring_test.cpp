#include "train/scoring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "base/error.hpp"
#include "train/layout_laws.hpp"

namespace rondo::train {
namespace {

using testing::HasSubstr;

// Examples of 1 to kSeqLen tokens, of a prompt of some tokens and weights of every kind behind it;
// of every seventh nothing is trained.
struct Example {
  std::vector<int32_t> tokens;
  std::vector<float> weights;  // of the token after each
  int32_t prompt = 0;
};

std::vector<Example> make_examples(int64_t count) {
  const base::Random random(3, "scored");
  std::vector<Example> examples;
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<uint64_t>(1000 * i);
    const auto length = static_cast<size_t>(1 + random.below(kSeqLen, at));
    Example example;
    example.prompt = static_cast<int32_t>(
        i % 7 == 3 ? length : std::min<size_t>(1 + random.below(length, at + 1), length));
    for (size_t t = 0; t < length; ++t) {
      example.tokens.push_back(static_cast<int32_t>(random.below(53, at + 10 + t)));
      const size_t next = t + 1;
      const auto first = static_cast<size_t>(example.prompt);
      const bool trained =
          next < length && (next == first || (next > first && random.below(4, at + 100 + t) > 0));
      example.weights.push_back(!trained ? 0.0F : (t % 2 == 0 ? 0.25F : 1.0F));
    }
    examples.push_back(example);
  }
  return examples;
}

data::ScoreInput input_of(const std::vector<Example>& examples) {
  data::ScoreInput input;
  for (const Example& example : examples) {
    input.lengths.push_back(static_cast<int32_t>(example.tokens.size()));
    input.prompt_lengths.push_back(example.prompt);
  }
  input.read = [&examples](int64_t i, std::span<int32_t> tokens, std::span<float> weights) {
    const Example& example = examples[static_cast<size_t>(i)];
    std::ranges::copy(example.tokens, tokens.begin());
    std::ranges::copy(example.weights, weights.begin());
  };
  return input;
}

// The loss and accuracy of one document by the training's own evaluation.
Totals alone(Stepper& stepper, const Example& example, size_t begin) {
  Document document;
  document.tokens.assign(example.tokens.begin() + static_cast<int64_t>(begin),
                         example.tokens.end());
  document.weights.assign(example.weights.begin() + static_cast<int64_t>(begin),
                          example.weights.end());
  return stepper.evaluate({batch_of({Pack{document}}, 0, 1)});
}

LayoutCase case_of(parallel::MeshSize mesh, int zero = 1, at::ScalarType compute = at::kFloat) {
  LayoutCase c;
  c.mesh = mesh;
  c.zero = zero;
  c.kv_heads = 4;
  c.compute = compute;
  return c;
}

constexpr ScoreSettings kSettings{.alone = true, .tokens_per_batch = 40};

Scored scored_on(const LayoutCase& c, const std::vector<Example>& examples,
                 const ScoreSettings& settings = kSettings) {
  std::mutex mutex;
  std::vector<Scored> by_rank;
  on_ranks(c.mesh.ranks(), [&](comm::Group& world, comm::Control& control) {
    parallel::Mesh mesh(world, c.mesh);
    const auto model = model_of(c, mesh);
    const auto mine = score_examples(*model, input_of(examples), settings, control);
    const std::lock_guard hold(mutex);
    by_rank.push_back(*mine);
  });
  return by_rank.front();
}

// Of all examples, end to end; NaN as a number of its own.
std::vector<double> numbers_of(const Scored& scored) {
  std::vector<double> all;
  for (const ExampleScore& score : scored.examples) {
    for (const double x : {score.loss, score.accuracy, score.loss_alone}) {
      all.push_back(std::isnan(x) ? -1 : x);
    }
    all.push_back(static_cast<double>(score.tokens));
  }
  return all;
}

TEST(Scoring, IsTheLossOfEachExampleEvaluatedAlone) {
  const auto examples = make_examples(60);
  Alone one;
  parallel::Mesh mesh(*one.group);
  const auto model = model_of(case_of({}), mesh);
  Stepper stepper(*model, one.control);
  const Scored scored = *score_examples(*model, input_of(examples), kSettings, one.control);
  int64_t both = 0;
  int64_t untrained = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    SCOPED_TRACE(i);
    const ExampleScore& score = scored.examples[i];
    const Totals whole = alone(stepper, examples[i], 0);
    EXPECT_EQ(static_cast<double>(score.tokens), whole.trainable_tokens);
    if (whole.weight == 0) {
      ++untrained;
      EXPECT_TRUE(std::isnan(score.loss) && std::isnan(score.accuracy) && std::isnan(score.ifd()));
      continue;
    }
    EXPECT_NEAR(score.loss, whole.loss(), 1e-6 * whole.loss());
    EXPECT_DOUBLE_EQ(score.accuracy, whole.correct / whole.trainable_tokens);
    EXPECT_DOUBLE_EQ(score.perplexity(), std::exp(score.loss));
    const Totals answer = alone(stepper, examples[i], static_cast<size_t>(examples[i].prompt));
    EXPECT_EQ(answer.trainable_tokens, whole.trainable_tokens - 1) << "the first one is given";
    if (answer.weight == 0) {
      EXPECT_TRUE(std::isnan(score.loss_alone) && std::isnan(score.ifd()));
      continue;
    }
    ++both;
    EXPECT_NEAR(score.loss_alone, answer.loss(), 1e-6 * answer.loss());
    EXPECT_NEAR(score.ifd(), whole.loss() / answer.loss(), 3e-6 * score.ifd());
  }
  EXPECT_EQ(scored.untrained, untrained);
  EXPECT_GT(both, 20);
  EXPECT_GT(untrained, 5);
  EXPECT_EQ(scored.too_long + scored.not_finite, 0);
}

TEST(Scoring, IsTheSameToTheBitOnAnyNumberOfDataParallelRanks) {
  const auto examples = make_examples(60);
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    const auto one = numbers_of(scored_on(case_of({}, 1, compute), examples));
    for (const auto& [mesh, zero] : {std::pair{parallel::MeshSize{1, 2, 1}, 1},
                                     {parallel::MeshSize{1, 3, 1}, 3},
                                     {parallel::MeshSize{2, 1, 1}, 2}}) {
      const LayoutCase c = case_of(mesh, zero, compute);
      EXPECT_EQ(numbers_of(scored_on(c, examples)), one) << name_of(c);
    }
  }
}

TEST(Scoring, DiffersByRoundingOverTensorRanksAndInOtherBatches) {
  const auto examples = make_examples(60);
  const auto one = numbers_of(scored_on(case_of({}), examples));
  const auto check = [&](const std::vector<double>& other) {
    ASSERT_EQ(other.size(), one.size());
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_NEAR(other[i], one[i], 1e-6 * std::abs(one[i])) << i;
  };
  check(numbers_of(scored_on(case_of({1, 1, 2}), examples)));
  check(numbers_of(scored_on(case_of({1, 2, 2}, 3), examples)));
  check(numbers_of(scored_on(case_of({}), examples, {.alone = true, .tokens_per_batch = 500})));
}

TEST(Scoring, WithoutIfdTheOtherScoresAreTheSame) {
  const auto examples = make_examples(30);
  const Scored with = scored_on(case_of({}), examples);
  const Scored without = scored_on(case_of({}), examples, {.tokens_per_batch = 40});
  for (size_t i = 0; i < examples.size(); ++i) {
    EXPECT_TRUE(std::isnan(without.examples[i].loss_alone));
    if (without.examples[i].tokens == 0) continue;
    EXPECT_NEAR(without.examples[i].loss, with.examples[i].loss, 1e-6 * with.examples[i].loss);
  }
  EXPECT_LT(without.tokens, with.tokens);
}

TEST(Scoring, WhatIsLongerThanTheModelIsLeftOutAndCounted) {
  auto examples = make_examples(20);
  const Scored before = scored_on(case_of({}), examples);
  Example longer = examples[0];
  longer.tokens.assign(kSeqLen + 1, 7);
  longer.weights.assign(kSeqLen + 1, 1.0F);
  longer.weights.back() = 0;
  longer.prompt = 1;
  examples.push_back(longer);
  for (const int ranks : {1, 2}) {
    const Scored scored = scored_on(case_of({1, ranks, 1}), examples);
    EXPECT_EQ(scored.too_long, 1);
    EXPECT_EQ(scored.untrained, before.untrained);
    EXPECT_TRUE(std::isnan(scored.examples.back().loss));
    EXPECT_TRUE(std::isnan(scored.examples.back().ifd()));
    EXPECT_EQ(scored.examples.back().tokens, 0);
  }
}

TEST(Scoring, EndsWhenAnyRankWantsToStop) {
  const auto examples = make_examples(60);
  on_ranks(3, [&](comm::Group& world, comm::Control& control) {
    parallel::Mesh mesh(world);
    const auto model = model_of(case_of({1, 3, 1}), mesh);
    int batches = 0;
    const ScoreHooks hooks = {
        .stop = [&] { return world.rank() == 2 && batches == 2; },
        .progress = [&](int64_t done, int64_t all) { batches += done < all ? 1 : 0; }};
    EXPECT_FALSE(score_examples(*model, input_of(examples), kSettings, control, hooks));
    EXPECT_EQ(batches, 2);
    EXPECT_TRUE(score_examples(*model, input_of(examples), kSettings, control));
  });
}

TEST(Scoring, WhatOneRankCannotReadIsThrownByAll) {
  const auto examples = make_examples(60);
  on_ranks(2, [&](comm::Group& world, comm::Control& control) {
    parallel::Mesh mesh(world);
    const auto model = model_of(case_of({1, 2, 1}), mesh);
    data::ScoreInput input = input_of(examples);
    input.read = [&, read = input.read](int64_t i, auto tokens, auto weights) {
      if (i == 11) base::fail_user("example 11 is damaged");
      read(i, tokens, weights);
    };
    EXPECT_THAT([&] { score_examples(*model, input, kSettings, control); },
                testing::ThrowsMessage<base::UserError>(HasSubstr("example 11 is damaged")));
  });
}

TEST(Scoring, LossesThatAreNotFiniteAreCounted) {
  const auto examples = make_examples(20);
  Alone one;
  parallel::Mesh mesh(*one.group);
  const auto model = model_of(case_of({}), mesh);
  model->unit(0).weight(0).fill_(std::numeric_limits<float>::quiet_NaN());
  const Scored scored = *score_examples(*model, input_of(examples), kSettings, one.control);
  EXPECT_EQ(scored.not_finite, 20 - scored.untrained);
}

TEST(Scoring, ColumnsHoldTheExamplesAskedForAndNameThem) {
  const auto examples = make_examples(20);
  const Scored scored = scored_on(case_of({}), examples);
  const auto columns = columns_of(scored, 5, {100, 101, 102}, "base_", true);
  ASSERT_EQ(columns.values.size(), 6U);
  for (const char* name : {"loss", "perplexity", "accuracy", "tokens", "loss_alone", "ifd"}) {
    ASSERT_TRUE(columns.values.contains(fmt::format("base_{}", name))) << name;
  }
  EXPECT_EQ(columns.example_id, (std::vector<uint64_t>{100, 101, 102}));
  for (size_t i = 0; i < 3; ++i) {
    const ExampleScore& score = scored.examples[5 + i];
    if (score.tokens == 0) continue;
    EXPECT_EQ(columns.values.at("base_loss")[i], static_cast<float>(score.loss));
    EXPECT_EQ(columns.values.at("base_tokens")[i], static_cast<float>(score.tokens));
  }
  EXPECT_EQ(columns_of(scored, 0, {1}, "", false).values.size(), 4U);
}

}  // namespace
}  // namespace rondo::train

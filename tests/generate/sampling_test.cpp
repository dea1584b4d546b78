#include "generate/sampling.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "base/error.hpp"

namespace rondo::generate {
namespace {

constexpr int kDraws = 20000;

// Share of each token among many draws.
std::vector<double> shares(const std::vector<float>& logits, const Sampling& sampling) {
  const base::Random random(sampling.seed, "test");
  std::vector<double> counts(logits.size(), 0);
  for (uint64_t i = 0; i < kDraws; ++i) {
    counts[static_cast<size_t>(choose_token(logits, sampling, random, i))] += 1;
  }
  for (double& count : counts) count /= kDraws;
  return counts;
}

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  // A constant added to all logits changes nothing.
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + 3));
  return logits;
}

void expect_shares(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    // Five standard deviations of a share of 20,000 draws.
    const double deviation = std::sqrt(expected[i] * (1 - expected[i]) / kDraws);
    EXPECT_NEAR(found[i], expected[i], 5 * deviation) << "token " << i;
  }
}

TEST(Sampling, DrawsFromTheSoftmax) {
  const std::vector<double> p = {0.1, 0.5, 0.25, 0.15};
  expect_shares(shares(logs(p), {.temperature = 1}), p);
}

TEST(Sampling, TemperatureSharpensAndFlattens) {
  const std::vector<float> logits = logs({0.2, 0.8});
  // p^(1/T), normalised: 0.04 to 0.64, and sqrt(0.2) to sqrt(0.8).
  expect_shares(shares(logits, {.temperature = 0.5}), {1.0 / 17, 16.0 / 17});
  expect_shares(shares(logits, {.temperature = 2}), {1.0 / 3, 2.0 / 3});
}

TEST(Sampling, TopKKeepsTheMostLikely) {
  const std::vector<float> logits = logs({0.1, 0.5, 0.25, 0.15});
  expect_shares(shares(logits, {.temperature = 1, .top_k = 2}), {0, 2.0 / 3, 1.0 / 3, 0});
  expect_shares(shares(logits, {.temperature = 1, .top_k = 1}), {0, 1, 0, 0});
  expect_shares(shares(logits, {.temperature = 1, .top_k = 9}), {0.1, 0.5, 0.25, 0.15});
}

TEST(Sampling, TopPKeepsTheTokenThatReachesTheShare) {
  const std::vector<float> logits = logs({0.1, 0.5, 0.25, 0.15});
  expect_shares(shares(logits, {.temperature = 1, .top_p = 0.6}), {0, 2.0 / 3, 1.0 / 3, 0});
  expect_shares(shares(logits, {.temperature = 1, .top_p = 0.4}), {0, 1, 0, 0});
  expect_shares(shares(logits, {.temperature = 1, .top_p = 1e-9}), {0, 1, 0, 0});
  expect_shares(shares(logits, {.temperature = 1, .top_p = 0.99}), {0.1, 0.5, 0.25, 0.15});
}

TEST(Sampling, TopPCountsWithinTopK) {
  const std::vector<float> logits = logs({0.1, 0.5, 0.25, 0.15});
  // Of the two kept by top_k the first has 2/3 of their share, which 0.6 of it is within.
  expect_shares(shares(logits, {.temperature = 1, .top_k = 2, .top_p = 0.6}), {0, 1, 0, 0});
}

TEST(Sampling, EquallyLikelyTokensAreTakenFromTheLowestId) {
  const std::vector<float> logits = {1, 2, 2, 2};
  const base::Random random(1, "test");
  EXPECT_EQ(choose_token(logits, {}, random, 0), 1);
  expect_shares(shares(logits, {.temperature = 1, .top_k = 2}), {0, 0.5, 0.5, 0});
  expect_shares(shares(logits, {.temperature = 1, .top_p = 0.1}), {0, 1, 0, 0});
}

TEST(Sampling, IsAFunctionOfSeedAndPosition) {
  const std::vector<float> logits(50, 0.0F);
  const Sampling sampling{.temperature = 1};
  const auto draw = [&](uint64_t seed, uint64_t position) {
    return choose_token(logits, sampling, base::Random(seed, "test"), position);
  };
  std::set<int32_t> by_seed, by_position;
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(draw(i, 7), draw(i, 7));
    by_seed.insert(draw(i, 7));
    by_position.insert(draw(7, i));
  }
  EXPECT_GT(by_seed.size(), 10U);
  EXPECT_GT(by_position.size(), 10U);
}

TEST(Sampling, HugeAndTinyLogitsStayFinite) {
  const base::Random random(1, "test");
  const float large = 3e38F;
  EXPECT_EQ(choose_token(std::vector<float>{-large, large}, {.temperature = 0.01}, random, 0), 1);
  EXPECT_EQ(
      choose_token(std::vector<float>{5}, {.temperature = 1, .top_k = 1, .top_p = 0.5}, random, 0),
      0);
}

TEST(Sampling, RefusesNonFiniteLogits) {
  const base::Random random(1, "test");
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), infinity, -infinity}) {
    EXPECT_THROW(choose_token(std::vector<float>{0, bad, 1}, {}, random, 0), base::UserError);
  }
}

TEST(Sampling, RefusesValuesOutsideOfTheirRange) {
  EXPECT_NO_THROW((Sampling{.temperature = 0.7, .top_k = 5, .top_p = 0.9}.validate()));
  EXPECT_THROW((Sampling{.temperature = -1}.validate()), base::UserError);
  EXPECT_THROW((Sampling{.temperature = std::nan("")}.validate()), base::UserError);
  EXPECT_THROW((Sampling{.top_k = -1}.validate()), base::UserError);
  EXPECT_THROW((Sampling{.top_p = 0}.validate()), base::UserError);
  EXPECT_THROW((Sampling{.top_p = 1.01}.validate()), base::UserError);
  EXPECT_THROW((Sampling{.top_p = std::nan("")}.validate()), base::UserError);
}

TEST(LogProbability, IsTheLogarithmOfTheSoftmax) {
  const std::vector<float> logits = logs({0.1, 0.5, 0.25, 0.15});
  EXPECT_NEAR(log_probability(logits, 1), std::log(0.5), 1e-6);
  EXPECT_NEAR(log_probability(logits, 0), std::log(0.1), 1e-6);
  EXPECT_NEAR(log_probability(std::vector<float>{3e38F, -3e38F}, 0), 0, 1e-12);
}

}  // namespace
}  // namespace rondo::generate

#include "data/mix.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <ranges>

#include "base/error.hpp"
#include "base/random.hpp"

namespace rondo::data {
namespace {

using testing::HasSubstr;

// Pools of examples of random sizes; numbers go on from pool to pool.
std::vector<std::vector<Drawable>> random_pools(uint64_t seed, const std::vector<int64_t>& counts,
                                                int64_t longest = 400) {
  const base::Random random(seed, "pools");
  std::vector<std::vector<Drawable>> pools;
  int64_t next = 0;
  for (const int64_t count : counts) {
    std::vector<Drawable>& pool = pools.emplace_back();
    for (int64_t i = 0; i < count; ++i, ++next) {
      const auto at = static_cast<uint64_t>(next) * 2;
      const auto tokens =
          2 + static_cast<int64_t>(random.below(static_cast<uint64_t>(longest), at));
      const auto trained =
          1 + static_cast<int64_t>(random.below(static_cast<uint64_t>(tokens - 1), at + 1));
      pool.push_back({next, tokens, trained});
    }
  }
  return pools;
}

struct Totals {
  double tokens = 0;
  double trainable = 0;
  double examples = 0;
};

Totals totals(const std::vector<int64_t>& drawn, const std::vector<Drawable>& pool) {
  Totals sum;
  for (const int64_t example : drawn) {
    const Drawable& drawable = pool[static_cast<size_t>(example - pool[0].example)];
    sum.tokens += static_cast<double>(drawable.tokens);
    sum.trainable += static_cast<double>(drawable.trainable);
    sum.examples += 1;
  }
  return sum;
}

double measure(const Totals& sum, MixBy by) {
  if (by == MixBy::kExamples) return sum.examples;
  return by == MixBy::kTokens ? sum.tokens : sum.trainable;
}

TEST(Mix, SharesAndBudgetComeOutAsAskedForManyShapes) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const base::Random random(seed, "shapes");
    const std::vector<int64_t> counts = {200 + static_cast<int64_t>(random.below(3000, 0)),
                                         200 + static_cast<int64_t>(random.below(3000, 1)),
                                         200 + static_cast<int64_t>(random.below(300, 2))};
    const auto pools = random_pools(seed, counts);
    for (const MixBy by : {MixBy::kTrainable, MixBy::kTokens, MixBy::kExamples}) {
      Mix mix{.parts = {{"a", 0.5 + random.uniform(3)}, {"b", 1}, {"c", 0.2}}, .by = by};
      mix.tokens = 300'000 + static_cast<int64_t>(random.below(1'000'000, 4));
      const Drawn drawn = draw(mix, pools, seed);
      EXPECT_TRUE(drawn.remarks.empty());
      const double given = mix.parts[0].share + 1.2;
      double whole = 0;
      double tokens = 0;
      for (size_t p = 0; p < 3; ++p) {
        whole += measure(totals(drawn.examples[p], pools[p]), by);
        tokens += totals(drawn.examples[p], pools[p]).tokens;
      }
      for (size_t p = 0; p < 3; ++p) {
        const double is = measure(totals(drawn.examples[p], pools[p]), by) / whole;
        EXPECT_NEAR(is, mix.parts[p].share / given, 0.005) << seed << " part " << p;
      }
      // The tokens of what is drawn by other measures come out on average.
      EXPECT_NEAR(tokens / static_cast<double>(mix.tokens), 1, by == MixBy::kTokens ? 0.002 : 0.05);
    }
  }
}

TEST(Mix, NoExampleComesTwiceBeforeAllHaveComeOnce) {
  const auto pools = random_pools(1, {100, 1000});
  const Mix mix{.parts = {{"a", 0.5}, {"b", 0.5}}, .tokens = 100'000};
  const Drawn drawn = draw(mix, pools, 7);
  for (size_t p = 0; p < 2; ++p) {
    std::map<int64_t, int64_t> times;
    for (const Drawable& drawable : pools[p]) times[drawable.example] = 0;
    for (const int64_t example : drawn.examples[p]) ++times.at(example);
    const auto [least, most] = std::ranges::minmax(times | std::views::values);
    EXPECT_LE(most - least, 1);
  }
  EXPECT_EQ(drawn.report["parts"][0]["left_out"], 0);
  EXPECT_GT(drawn.report["parts"][1]["left_out"], 0);
  EXPECT_NE(draw(mix, pools, 8).examples[1], drawn.examples[1]) << "seeded";
  EXPECT_EQ(draw(mix, pools, 7).examples, drawn.examples);
}

TEST(Mix, AutomaticSharesFollowTheTemperature) {
  const auto pools = random_pools(1, {4000, 1000, 500});
  Mix mix{.parts = {{"a"}, {"b"}, {"c", 0.2}}, .by = MixBy::kExamples, .temperature = 1};
  const auto asked = [&](size_t p) {
    return draw(mix, pools, 1).report["parts"][p]["asked"].get<double>();
  };
  EXPECT_NEAR(asked(0), 0.8 * 0.8, 1e-9);
  EXPECT_NEAR(asked(1), 0.8 * 0.2, 1e-9);
  EXPECT_NEAR(asked(2), 0.2, 1e-9);
  mix.temperature = 2;
  EXPECT_NEAR(asked(0), 0.8 * 2 / 3, 1e-9);
  mix.temperature = 0.3;
  EXPECT_NEAR(asked(0), 0.8 / (1 + std::pow(0.25, 1 / 0.3)), 1e-9);
  mix.temperature = 1e9;
  EXPECT_NEAR(asked(0), 0.4, 1e-6);
}

TEST(Mix, SaysWhyASmallBudgetMissesTheShares) {
  const auto pools = random_pools(1, {50, 50}, 4000);
  const Mix mix{.parts = {{"a", 0.9}, {"b", 0.1}}, .tokens = 3000};
  const Drawn drawn = draw(mix, pools, 1);
  ASSERT_FALSE(drawn.remarks.empty());
  EXPECT_THAT(drawn.remarks[0], HasSubstr("too large for a budget of 3000 tokens"));
}

TEST(Mix, RefusesWhatCannotBe) {
  const auto pools = random_pools(1, {50, 50});
  EXPECT_THROW(draw({.parts = {{"a", 1.0}, {"b"}}}, pools, 1), base::UserError);
  const auto four = random_pools(1, {50, 50, 50, 50});
  EXPECT_THROW(draw({.parts = {{"a", 0.7}, {"b", 0.2}, {"c", 0.1}, {"d"}}}, four, 1),
               base::UserError)
      << "0.7 + 0.2 + 0.1 is a little less than 1";
  EXPECT_THROW(draw({.parts = {{"a"}, {"b"}, {"c"}, {"d"}}, .temperature = 1e-4}, four, 1),
               base::UserError)
      << "all goes to the largest, and no number overflows";
  EXPECT_THROW(draw({.parts = {{"a", 1}, {"b", 1}}, .tokens = 1}, pools, 1), base::UserError);
  EXPECT_THROW(draw({.parts = {{"a", 0.5}, {"b", 0.5}}}, {pools[0], {}}, 1), base::UserError);
}

}  // namespace
}  // namespace rondo::data

#include "data/step_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.hpp"

namespace rondo::data {
namespace {

std::vector<double> random_costs(uint64_t seed, int64_t packs) {
  const base::Random random(seed, "costs");
  std::vector<double> costs;
  for (int64_t i = 0; i < packs; ++i) {
    costs.push_back(std::exp(3 * random.uniform(static_cast<uint64_t>(i))));
  }
  return costs;
}

TEST(StepOrder, TakesEveryPackOnceForManyShapes) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const base::Random random(seed, "shapes");
    const auto packs = 1 + static_cast<int64_t>(random.below(300, 0));
    const auto per_step = 1 + static_cast<int64_t>(random.below(48, 1));
    const StepOrder order{per_step, seed, "plan"};
    const auto costs = random_costs(seed, packs);
    for (const int64_t epoch : {0, 1}) {
      const auto places = order_of_epoch(order, costs, epoch);
      EXPECT_EQ(std::ssize(places) % per_step, 0);
      std::vector<int64_t> seen;
      for (const int64_t pack : places) {
        if (pack >= 0) seen.push_back(pack);
      }
      std::ranges::sort(seen);
      ASSERT_EQ(std::ssize(seen), packs);
      for (int64_t i = 0; i < packs; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
      // A step has the packs that the seeded order gives it.
      const auto seeded = seeded_order(order, packs, epoch);
      for (size_t begin = 0; begin < places.size(); begin += static_cast<size_t>(per_step)) {
        const auto step = [&](std::vector<int64_t> all) {
          std::vector<int64_t> own(all.begin() + static_cast<ptrdiff_t>(begin),
                                   all.begin() + static_cast<ptrdiff_t>(begin) + per_step);
          std::ranges::sort(own);
          return own;
        };
        EXPECT_EQ(step(places), step(seeded));
      }
    }
    if (packs > 4 * per_step) {
      EXPECT_NE(seeded_order(order, packs, 0), seeded_order(order, packs, 1));
    }
  }
}

TEST(StepOrder, PartsCostAlikeForEveryNumberOfRanks) {
  const auto costs = random_costs(1, 64 * 40);
  const StepOrder order{64, 1, "plan"};
  const auto places = order_of_epoch(order, costs, 0);
  const auto seeded = seeded_order(order, std::ssize(costs), 0);
  for (const int64_t ranks : {2, 4, 8}) {
    const Imbalance before = imbalance_of(seeded, costs, 64, ranks);
    const Imbalance after = imbalance_of(places, costs, 64, ranks);
    EXPECT_GT(before.mean, 1.05);
    EXPECT_LT(after.mean, 1.005) << ranks;
    EXPECT_LT(after.worst, 1.03) << ranks;
  }
}

TEST(StepOrder, PartsOfFewPacksAndOfNoPowerOfTwoCostAlikeToo) {
  // Packs of a step, ranks.
  for (const auto& [packs, ranks] :
       {std::pair<int64_t, int64_t>{64, 32}, {63, 3}, {45, 5}, {48, 16}}) {
    const auto costs = random_costs(2, packs * 50);
    const StepOrder order{packs, 2, "plan"};
    const Imbalance before = imbalance_of(seeded_order(order, packs * 50, 0), costs, packs, ranks);
    const Imbalance after = imbalance_of(order_of_epoch(order, costs, 0), costs, packs, ranks);
    EXPECT_LT(after.mean - 1, 0.6 * (before.mean - 1)) << packs << " packs, " << ranks << " ranks";
  }
}

TEST(StepOrder, EmptyPlacesOfTheLastStepAreSpread) {
  const std::vector<double> costs(13, 1.0);
  const auto places = order_of_epoch({16, 3, "plan"}, costs, 0);
  for (size_t part = 0; part < 4; ++part) {
    const auto begin = places.begin() + static_cast<ptrdiff_t>(4 * part);
    EXPECT_LE(std::count(begin, begin + 4, -1), 1);
  }
}

}  // namespace
}  // namespace rondo::data

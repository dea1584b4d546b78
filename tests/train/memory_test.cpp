#include "train/memory.hpp"

#include <gtest/gtest.h>

#include "plan/memory.hpp"
#include "train/plan_of.hpp"

namespace rondo::train {
namespace {

model::Shape shape() {
  model::Shape shape;
  shape.hidden = 64;
  shape.layers = 2;
  shape.heads = 4;
  shape.ffn = 128;
  shape.vocab = 100;
  shape.max_seq = 4096;
  shape.validate("test");
  return shape;
}

constexpr int64_t kPlenty = int64_t{1} << 40;

TEST(MicroPacks, AreTheLargestDivisorOfAtMostFourThousandRows) {
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 16, kPlenty), 8);
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 4, kPlenty), 4);
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 12, kPlenty), 6) << "8 does not divide 12";
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 7, kPlenty), 7);
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 11, kPlenty), 1) << "a prime beyond 8";
  EXPECT_EQ(choose_micro_packs({}, shape(), 4096, 16, kPlenty), 1);
}

TEST(MicroPacks, FitTheBudgetAndAreNeverLessThanOne) {
  const int64_t four =
      plan::activation_bytes(dimensions_of(shape()), plan_layout({}, shape()), 4 * 512);
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 16, four), 4);
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 16, four - 1), 2);
  EXPECT_EQ(choose_micro_packs({}, shape(), 512, 16, 0), 1);
  EXPECT_EQ(choose_micro_packs({}, shape(), 8192, 16, kPlenty), 1) << "a pack beyond 4096 rows";
}

TEST(AvailableMemory, IsSharedByTheRanksOfAHost) {
  const int64_t alone = available_memory(1);
  EXPECT_GT(alone, int64_t{1} << 20);
  // What is available moves between the two readings.
  EXPECT_NEAR(static_cast<double>(available_memory(4)), static_cast<double>(alone) / 4,
              0.1 * static_cast<double>(alone));
}

}  // namespace
}  // namespace rondo::train

#include "kernels/packed_layout.hpp"

#include <gtest/gtest.h>

#include "kernels/numbers.hpp"

namespace rondo::kernels {
namespace {

TEST(PackedLayout, CountsPositionsFromTheBeginningOfEachDocument) {
  const PackedLayout layout = PackedLayout::make(9, {{0, 3}, {3, 4}, {6, 8}});
  EXPECT_TRUE(test::same_bits(layout.positions, at::tensor({0, 1, 2, 0, 0, 0, 0, 1, 0}, at::kInt)));
  EXPECT_EQ(layout.rows, 9);
  EXPECT_EQ(layout.longest, 3);
  EXPECT_EQ(layout.attention_pairs, 6 + 1 + 3);
}

TEST(PackedLayout, MayHoldNoDocument) {
  const PackedLayout layout = PackedLayout::make(4, {});
  EXPECT_TRUE(test::same_bits(layout.positions, at::zeros({4}, at::kInt)));
  EXPECT_EQ(layout.longest, 0);
  EXPECT_EQ(layout.attention_pairs, 0);
}

TEST(PackedLayout, RejectsDocumentsThatAreEmptyOverlapOrLeaveTheBatch) {
  EXPECT_THROW(PackedLayout::make(4, {{2, 2}}), base::Bug);
  EXPECT_THROW(PackedLayout::make(4, {{0, 2}, {1, 3}}), base::Bug);
  EXPECT_THROW(PackedLayout::make(4, {{2, 4}, {0, 2}}), base::Bug);
  EXPECT_THROW(PackedLayout::make(4, {{3, 5}}), base::Bug);
  EXPECT_THROW(PackedLayout::make(4, {{-1, 2}}), base::Bug);
}

}  // namespace
}  // namespace rondo::kernels

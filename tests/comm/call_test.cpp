// Calls, and ranks that made different ones, in words.
#include "comm/call.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace rondo::comm {
namespace {

Call call(Operation operation, int64_t elements, at::ScalarType type = at::kFloat, int root = -1) {
  return {.sequence = 17, .elements = elements, .root = root, .operation = operation, .type = type};
}

TEST(Call, ReadsAsWords) {
  EXPECT_EQ(to_text(call(Operation::kAllSum, 4096)), "all_sum of 4096 float32");
  EXPECT_EQ(to_text(call(Operation::kAllToAll, 1, at::kBFloat16)), "all_to_all of 1 bfloat16");
  EXPECT_EQ(to_text(call(Operation::kBroadcast, 10, at::kLong, 2)),
            "broadcast of 10 int64 from root 2");
  EXPECT_EQ(to_text(call(Operation::kSplit, 0)), "split");
}

TEST(RanksText, NamesFewAndCountsMany) {
  std::vector<int> ranks(64);
  std::iota(ranks.begin(), ranks.end(), 0);
  const std::span<const int> all = ranks;
  EXPECT_EQ(ranks_text(all.subspan(3, 1)), "rank 3");
  EXPECT_EQ(ranks_text(all.subspan(1, 2)), "ranks 1, 2");
  EXPECT_EQ(ranks_text(all.first(8)), "ranks 0, 1, 2, 3, 4, 5, 6, 7");
  EXPECT_EQ(ranks_text(all), "ranks 0, 1, 2 and 61 others");
}

TEST(MismatchText, NamesEachCallWithItsRanks) {
  const Call sum = call(Operation::kAllSum, 4096);
  const Call gather = call(Operation::kAllGather, 1024);
  const std::string rule = ". All ranks of a group must make the same calls in the same order.";
  EXPECT_EQ(mismatch_text("shard", std::vector{sum, gather}, std::vector{0, 1}),
            "group shard, operation 17: rank 0 called all_sum of 4096 float32, rank 1 called "
            "all_gather of 1024 float32" +
                rule);
  Call earlier = sum;
  earlier.sequence = 16;
  EXPECT_EQ(mismatch_text("shard", std::vector{sum, gather, sum, earlier}, std::vector{4, 5, 6, 7}),
            "group shard, operation 17: ranks 4, 6 called all_sum of 4096 float32, rank 5 called "
            "all_gather of 1024 float32, rank 7 called all_sum of 4096 float32 as operation 16" +
                rule);
}

}  // namespace
}  // namespace rondo::comm

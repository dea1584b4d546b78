// What a rank says that has waited too long.
#include "comm/watch.hpp"

#include <gtest/gtest.h>

namespace rondo::comm {
namespace {

const Watch::Place kHere = {
    .group = "shard", .call = {.sequence = 17, .elements = 4096, .operation = Operation::kAllSum}};
const Watch::Place kThere = {
    .group = "world", .call = {.sequence = 3, .elements = 8, .operation = Operation::kAllMax}};
const std::string kStart =
    "group shard, operation 17: rank 1 has waited for all_sum of 4096 float32 longer than the "
    "deadline of 0.5 s";
const std::vector<int> kRanks = {0, 1, 2, 3};

TEST(OverdueText, NamesARankThatDidNotCome) {
  EXPECT_EQ(
      overdue_text(kHere, 0.5, 1, kRanks, {{0, kHere}, {3, kHere}}),
      kStart +
          "; rank 2 has not come to it (dead, or busy elsewhere). Look at that rank's output; "
          "raise parallel.deadline_s when it is only slow.");
}

TEST(OverdueText, NamesARankThatWaitsElsewhere) {
  EXPECT_EQ(
      overdue_text(kHere, 0.5, 1, kRanks, {{0, kHere}, {2, kThere}}),
      kStart +
          "; rank 3 has not come to it (dead, or busy elsewhere); rank 2 waits for all_max of "
          "8 float32 (group world, operation 3). Look at the output of those ranks; raise "
          "parallel.deadline_s when they are only slow.");
}

TEST(OverdueText, SaysWhenAllAreThere) {
  EXPECT_EQ(overdue_text(kHere, 0.5, 1, kRanks, {{0, kHere}, {2, kHere}, {3, kHere}, {7, kThere}}),
            kStart + "; all its ranks wait for it. Look at the network between them.");
}

}  // namespace
}  // namespace rondo::comm

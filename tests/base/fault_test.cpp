// Laws: a fault happens on its rank, at its point and step, once; what cannot be read is refused.
#include "base/fault.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "base/error.hpp"

namespace rondo::base {
namespace {

TEST(Faults, HappenOnceWhereTheyAreAskedFor) {
  Faults faults("here:1:3:throw,there:*:*:corrupt", 1);
  EXPECT_FALSE(faults.none());
  EXPECT_FALSE(faults.reach("here", 2));
  EXPECT_FALSE(faults.reach("elsewhere", 3));
  EXPECT_THROW(faults.reach("here", 3), SystemError);
  EXPECT_FALSE(faults.reach("here", 3));
  EXPECT_TRUE(faults.reach("there", 7));
  EXPECT_FALSE(faults.reach("there", 7));
}

TEST(Faults, OfOtherRanksAreNone) {
  EXPECT_TRUE(Faults("here:1:3:throw", 0).none());
  EXPECT_TRUE(Faults("", 0).none());
}

TEST(Faults, DelaysWait) {
  Faults faults("here:0:*:delay=1", 0);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(faults.reach("here", 1));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST(FaultsDeathTest, KillKills) {
  Faults faults("here:0:*:kill", 0);
  EXPECT_EXIT(faults.reach("here", 1), testing::KilledBySignal(SIGKILL), "");
}

TEST(Faults, WhatCannotBeReadIsRefused) {
  for (const char* text :
       {"here", "here:0:1", "here:0:1:explode", "here:x:1:kill", "here:0:-1:kill", ":0:1:kill",
        "here:0:1:delay=", "here:0:1:delay=x", "here:0:1:kill,"}) {
    EXPECT_THROW(Faults(text, 0), UserError) << text;
  }
}

}  // namespace
}  // namespace rondo::base

// The MPI backend keeps the contract of Group and Control, and accounts for what it hides.
#include <chrono>
#include <thread>

#include "comm/contract.hpp"
#include "support/world.hpp"

namespace rondo::comm {
namespace {

TEST(MpiGroup, KeepsTheContract) {
  const auto group = test::runtime().make_group();
  test::check_contract(*group);
  Control control = test::runtime().make_control();
  test::check_control(control);
}

TEST(MpiGroup, SplitsIntoGroupsOfTheirOwn) {
  const auto group = test::runtime().make_group();
  test::check_split(*group);
}

TEST(MpiGroup, GroupsDoNotMeet) {
  const auto a = test::runtime().make_group();
  const auto b = test::runtime().make_group();
  at::Tensor x = test::values(a->rank(), 10);
  at::Tensor y = test::values(a->rank(), 10);
  // Started in opposite order on odd ranks: no message may cross.
  auto first = a->rank() % 2 == 0 ? a->all_sum(x, test::kPurpose) : b->all_sum(y, test::kPurpose);
  auto second = a->rank() % 2 == 0 ? b->all_sum(y, test::kPurpose) : a->all_sum(x, test::kPurpose);
  first.wait();
  second.wait();
  EXPECT_TRUE(at::equal(x, y));
}

TEST(MpiGroup, WhatPollCompletesIsHidden) {
  const auto group = test::runtime().make_group();
  const auto purpose = Purpose::kGradients;
  at::Tensor sum = test::values(group->rank(), 1000);
  auto work = group->all_sum(sum, purpose);
  EXPECT_FALSE(group->recent().back().done.has_value());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // in the place of computation
  while (!group->recent().back().done) group->poll();
  const Traffic& traffic = group->traffic(purpose);
  const double flight_s = traffic.flight_s;
  EXPECT_GT(flight_s, traffic.start_s);
  EXPECT_EQ(traffic.waited_s, 0);
  EXPECT_FALSE(group->recent().back().waited_s.has_value());
  group->poll();
  work.wait();
  EXPECT_TRUE(group->recent().back().waited_s.has_value());
  EXPECT_EQ(traffic.flight_s, flight_s);
  EXPECT_GT(traffic.hidden_s(), 0);
}

TEST(MpiGroup, WaitEndsWhatPollDidNot) {
  const auto group = test::runtime().make_group();
  at::Tensor sum = test::values(group->rank(), 1000);
  group->all_sum(sum, Purpose::kGradients).wait();
  const Traffic& traffic = group->traffic(Purpose::kGradients);
  const Record last = group->recent().back();
  EXPECT_TRUE(last.done && last.waited_s);
  EXPECT_GE(traffic.flight_s, traffic.start_s + traffic.waited_s);
  EXPECT_EQ(group->traffic(Purpose::kWeights).calls, 0);
}

}  // namespace
}  // namespace rondo::comm

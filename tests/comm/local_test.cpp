// Threads as ranks and the group of one keep the contract of Group and Control.
#include "comm/contract.hpp"
#include "comm/local_world.hpp"

namespace rondo::comm {
namespace {

TEST(SelfGroup, KeepsTheContract) {
  const auto group = make_self_group();
  test::check_contract(*group);
  Control control(make_self_group());
  test::check_control(control);
}

TEST(LocalWorld, KeepsTheContract) {
  for (const int size : {1, 2, 3, 4, 8}) {
    LocalWorld::run(size, [](Group& group) { test::check_contract(group); });
    LocalWorld::run(size, [](Group&, Control& control) { test::check_control(control); });
  }
}

TEST(LocalWorld, SplitsIntoGroupsOfTheirOwn) {
  for (const int size : {1, 2, 3, 4, 7, 8}) LocalWorld::run(size, test::check_split);
}

TEST(LocalWorld, ARankThatThrowsReleasesThoseThatWaitInAPart) {
  EXPECT_THROW(LocalWorld::run(4,
                               [](Group& group) {
                                 const auto part = group.split("part", group.rank() / 2, 0);
                                 if (group.rank() == 1) throw base::UserError("gone");
                                 part->barrier();
                               }),
               std::exception);
}

TEST(LocalWorld, ARankThatThrowsReleasesTheOthers) {
  EXPECT_THROW(LocalWorld::run(3,
                               [](Group& group) {
                                 if (group.rank() == 1) throw base::UserError("gone");
                                 group.barrier();
                               }),
               std::exception);
}

TEST(LocalWorld, DifferentSizesAreABug) {
  EXPECT_THROW(LocalWorld::run(2,
                               [](Group& group) {
                                 at::Tensor t = at::zeros({group.rank() + 1});
                                 group.all_sum(t, Purpose::kOther).wait();
                               }),
               std::exception);
}

TEST(WorkDeath, DroppingAWorkIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto group = make_self_group("world");
        at::Tensor t = at::zeros({1});
        auto work = group->all_sum(t, Purpose::kOther);
      },
      "bug in rondo: all_sum #1 of group world was started and never waited for");
}

TEST(WorkDeath, ARankThatDropsAWorkNamesIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(LocalWorld::run(2,
                               [](Group& group) {
                                 group.barrier();
                                 at::Tensor t = at::zeros({1});
                                 auto work = group.broadcast(t, 0, Purpose::kOther);
                                 if (group.rank() == 0) work.wait();
                               }),
               "bug in rondo: broadcast #2 of group world was started and never waited for");
}

}  // namespace
}  // namespace rondo::comm

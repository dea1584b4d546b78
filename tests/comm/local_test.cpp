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

// What the Bug says that `action` throws.
template <class Action>
std::string bug_of(const Action& action) {
  try {
    action();
  } catch (const base::Bug& bug) {
    return bug.what();
  }
  return "no error";
}

void expect_start(const std::string& text, const std::string& start) {
  EXPECT_TRUE(text.starts_with(start)) << text << "\ninstead of\n" << start;
}

TEST(LocalWorld, RanksThatSwapCollectivesAreNamed) {
  for (const int size : {2, 3, 4}) {
    const std::string others = size == 2 ? "rank 0" : size == 3 ? "ranks 0, 1" : "ranks 0, 1, 2";
    LocalWorld::run(size, [&](Group& group) {
      const int last = group.size() - 1;
      const bool odd = group.rank() == last;
      at::Tensor small = at::zeros({8});
      at::Tensor large = at::zeros({8 * size});
      group.barrier();
      const std::string text = bug_of([&] {
        if (odd) group.all_gather(large, small, test::kPurpose).wait();
        group.all_sum(small, test::kPurpose).wait();
        if (!odd) group.all_gather(large, small, test::kPurpose).wait();
      });
      expect_start(text, fmt::format("group world, operation 2: {} called all_sum of 8 float32, "
                                     "rank {} called all_gather of {} float32.",
                                     others, last, 8 * size));
      // Types and roots count as well.
      at::Tensor other = at::zeros({8}, odd ? at::kDouble : at::kFloat);
      expect_start(bug_of([&] { group.all_max(other, test::kPurpose).wait(); }),
                   fmt::format("group world, operation 3: {} called all_max of 8 float32, rank {} "
                               "called all_max of 8 float64.",
                               others, last));
      expect_start(bug_of([&] { group.broadcast(small, odd ? 1 : 0, test::kPurpose).wait(); }),
                   fmt::format("group world, operation 4: {} called broadcast of 8 float32 from "
                               "root 0, rank {} called broadcast of 8 float32 from root 1.",
                               others, last));
      expect_start(bug_of([&] {
                     if (odd) {
                       group.barrier();
                     } else {
                       EXPECT_EQ(group.split("part", 0, 0), nullptr);
                     }
                   }),
                   fmt::format("group world, operation 5: {} called split, rank {} called all_sum "
                               "of 1 int32.",
                               others, last));
    });
  }
}

TEST(LocalWorld, ARankThatSwapsReleasesTheOthers) {
  for (const int size : {2, 3, 4}) {
    EXPECT_THROW(LocalWorld::run(size,
                                 [](Group& group) {
                                   at::Tensor t = at::zeros({4});
                                   const bool odd = group.rank() == 0;
                                   if (odd) group.all_max(t, test::kPurpose).wait();
                                   group.all_sum(t, test::kPurpose).wait();
                                   if (!odd) group.all_max(t, test::kPurpose).wait();
                                 }),
                 base::Bug);
  }
}

TEST(LocalWorld, PartsNameRanksOfTheWorld) {
  LocalWorld::run(4, [](Group& group) {
    const auto row = group.split("row", group.rank() / 2, 0);
    at::Tensor t = at::zeros({row->rank() + 1});
    const int first = group.rank() / 2 * 2;
    expect_start(bug_of([&] { row->all_sum(t, test::kPurpose).wait(); }),
                 fmt::format("group row, operation 1: rank {} called all_sum of 1 float32, rank {} "
                             "called all_sum of 2 float32.",
                             first, first + 1));
  });
}

TEST(LocalWorld, PartsHaveTheDeadlineOfTheWhole) {
  LocalWorld::run(2, [](Group& group) {
    EXPECT_EQ(group.deadline_s(), 0);
    group.set_deadline(5);
    EXPECT_EQ(group.split("part", 0, 0)->deadline_s(), 5);
    EXPECT_EQ(group.split("alone", group.rank(), 0)->deadline_s(), 5);
    EXPECT_THROW(group.set_deadline(-1), base::Bug);
  });
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

// The checked mode of the mpi backend: ranks that differ are told so, and nobody hangs.
#include "comm/contract.hpp"
#include "support/world.hpp"

namespace rondo::comm {
namespace {

std::unique_ptr<Group> checked_group() {
  test::runtime().check_collectives(true);
  auto group = test::runtime().make_group("shard");
  test::runtime().check_collectives(false);
  return group;
}

// The text of the Bug that `action` throws.
template <class Action>
std::string bug_of(const Action& action) {
  try {
    action();
  } catch (const base::Bug& bug) {
    return bug.what();
  }
  return "no error";
}

// The last rank swaps two collectives.
std::string swapped(Group& group, bool mine) {
  at::Tensor small = at::zeros({8});
  at::Tensor large = at::zeros({8 * group.size()});
  return bug_of([&] {
    if (mine) {
      group.all_gather(large, small, test::kPurpose).wait();
    } else {
      group.all_sum(small, test::kPurpose).wait();
    }
  });
}

std::string all_but(int last) {
  if (last == 1) return "rank 0";
  std::string text = "ranks 0";
  for (int r = 1; r < last; ++r) text += fmt::format(", {}", r);
  return text;
}

TEST(CheckedMpiGroup, KeepsTheContract) {
  const auto group = checked_group();
  test::check_contract(*group);
  test::check_split(*group);
}

TEST(CheckedMpiGroup, NamesRanksThatDiffer) {
  const auto group = checked_group();
  const int last = group->size() - 1;
  if (last == 0) return;
  group->barrier();
  const auto starts = [&](const std::string& text, const std::string& expected) {
    EXPECT_TRUE(text.starts_with(expected)) << text << "\ninstead of\n" << expected;
  };
  starts(swapped(*group, group->rank() == last),
         fmt::format("group shard, operation 2: {} called all_sum of 8 float32, rank {} called "
                     "all_gather of {} float32.",
                     all_but(last), last, 8 * group->size()));
  at::Tensor tensor = at::zeros({group->rank() == last ? 3 : 2});
  starts(bug_of([&] { group->all_sum(tensor, test::kPurpose).wait(); }),
         fmt::format("group shard, operation 3: {} called all_sum of 2 float32, rank {} called "
                     "all_sum of 3 float32.",
                     all_but(last), last));
  starts(bug_of([&] {
           if (group->rank() == last) {
             EXPECT_EQ(group->split("part", 0, 0), nullptr);
           } else {
             group->barrier();
           }
         }),
         fmt::format("group shard, operation 4: {} called all_sum of 1 int32, rank {} called "
                     "split",
                     all_but(last), last));
}

TEST(CheckedMpiGroup, PartsAreCheckedAndGiveRanksOfTheWorld) {
  const auto group = checked_group();
  const auto backwards = group->split("backwards", 0, -group->rank());
  if (group->size() == 1) return;
  const std::string text = swapped(*backwards, backwards->rank() == 0);
  EXPECT_TRUE(text.starts_with(
      fmt::format("group backwards, operation 1: rank {} called all_gather", group->size() - 1)))
      << text;
  backwards->barrier();
}

}  // namespace
}  // namespace rondo::comm

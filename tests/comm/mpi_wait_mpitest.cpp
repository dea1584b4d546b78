// Waiting with a deadline: ranks that do not come are named, and a rank that comes late after all
// finds the operation whole.
#include "comm/contract.hpp"
#include "support/world.hpp"

namespace rondo::comm {
namespace {

constexpr double kShort = 0.3;
constexpr double kLong = 60;

std::string overdue(Work work) {
  try {
    work.wait();
  } catch (const base::SystemError& error) {
    return error.what();
  }
  return "no error";
}

TEST(MpiWait, ADeadlineThatIsMetChangesNothing) {
  const auto group = test::runtime().make_group();
  group->set_deadline(kLong);
  test::check_contract(*group);
  test::check_split(*group);
}

// On a group that is ranked backwards, so that its ranks are not those of the world.
TEST(MpiWait, NamesTheRankThatDoesNotCome) {
  const auto world = test::runtime().make_group();
  const int last = world->size() - 1;
  if (last == 0) return;
  world->set_deadline(kShort);
  auto group = world->split("late", 0, -world->rank());
  EXPECT_EQ(group->deadline_s(), kShort);
  world->set_deadline(0);
  at::Tensor sum = test::values(world->rank(), 1000);
  if (world->rank() == last) {
    world->barrier();  // the others have given up
    group->set_deadline(0);
    group->all_sum(sum, test::kPurpose).wait();
  } else {
    const std::string text = overdue(group->all_sum(sum, test::kPurpose));
    const std::string::size_type first_line = text.find('\n');
    EXPECT_EQ(text.substr(0, first_line),
              fmt::format("group late, operation 1: rank {} has waited for all_sum of 1000 "
                          "float32 longer than the deadline of 0.3 s; rank {} has not come "
                          "to it (dead, or busy elsewhere). Look at that rank's output; "
                          "raise parallel.deadline_s when it is only slow.",
                          world->rank(), last));
    EXPECT_TRUE(text.substr(first_line + 1)
                    .starts_with("The last operations of this rank in that group:\n"
                                 "  late #1 all_sum 1000 float32"))
        << text;
    EXPECT_FALSE(group->recent().back().done.has_value());
    world->barrier();
  }
  world->barrier();
  // What was given up is completed by the end of the group.
  group->set_deadline(kLong);
  group.reset();
  EXPECT_TRUE(at::equal(sum, test::values(0, 1000) * (last + 1) * (last + 2) / 2));
}

TEST(MpiWait, NamesWhereARankWaitsInstead) {
  const auto here = test::runtime().make_group("here");
  const auto elsewhere = test::runtime().make_group("elsewhere");
  const int last = here->size() - 1;
  if (last == 0) return;
  at::Tensor one = at::ones({5});
  at::Tensor other = at::ones({3}, at::kDouble);
  elsewhere->set_deadline(kLong);
  if (here->rank() == last) {
    elsewhere->all_max(other, test::kPurpose).wait();
    here->all_sum(one, test::kPurpose).wait();
  } else {
    here->set_deadline(kShort);
    const std::string text = overdue(here->all_sum(one, test::kPurpose));
    EXPECT_TRUE(text.find(fmt::format("; rank {} waits for all_max of 3 float64 (group elsewhere, "
                                      "operation 1). Look at that rank's output;",
                                      last)) != std::string::npos)
        << text;
    elsewhere->all_max(other, test::kPurpose).wait();
  }
  elsewhere->barrier();
  here->set_deadline(kLong);
}

}  // namespace
}  // namespace rondo::comm

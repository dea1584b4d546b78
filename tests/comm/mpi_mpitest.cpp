// The MPI backend keeps the contract of Group and Control.
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

}  // namespace
}  // namespace rondo::comm

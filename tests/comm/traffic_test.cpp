// What Traffic says of exposed and hidden time.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "comm/group.hpp"
#include "comm/local_world.hpp"

namespace rondo::comm {
namespace {

TEST(Traffic, HiddenIsWhatIsNeitherStartingNorWaiting) {
  EXPECT_DOUBLE_EQ((Traffic{.start_s = 1, .waited_s = 2, .flight_s = 10}.hidden_s()), 7);
  EXPECT_EQ((Traffic{.start_s = 1, .waited_s = 2, .flight_s = 1}.hidden_s()), 0);
}

// A backend that works in the call that starts an operation hides nothing.
void check_nothing_hidden(Group& group) {
  at::Tensor tensor = at::zeros({1000});
  for (int i = 0; i < 3; ++i) group.all_sum(tensor, Purpose::kGradients).wait();
  const Traffic& traffic = group.traffic(Purpose::kGradients);
  EXPECT_EQ(traffic.calls, 3);
  EXPECT_EQ(traffic.bytes, 3 * 4000);
  EXPECT_GT(traffic.start_s, 0);
  EXPECT_EQ(traffic.flight_s, traffic.start_s);
  EXPECT_EQ(traffic.hidden_s(), 0);
  EXPECT_EQ(group.traffic(Purpose::kWeights).flight_s, 0);
}

TEST(Traffic, SelfAndLocalGroupsHideNothing) {
  check_nothing_hidden(*make_self_group());
  LocalWorld::run(3, check_nothing_hidden);
}

}  // namespace
}  // namespace rondo::comm

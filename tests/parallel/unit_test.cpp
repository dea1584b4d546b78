// Flat units: every element has one owner, sums and gathers meet, and the layout changes nothing.
#include "parallel/unit.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <mutex>

#include "base/error.hpp"
#include "comm/local_world.hpp"

namespace rondo::parallel {
namespace {

// Odd sizes, one parameter larger than a bucket.
std::vector<Parameter> parameters() {
  return {{.name = "norm", .shape = {7}, .decay = false, .init_value = 1},
          {.name = "q", .shape = {5, 7}, .init_std = 0.5},
          {.name = "k", .shape = {3, 7}, .joined = true, .init_std = 0.5},
          {.name = "big", .shape = {1100, 1000}, .init_std = 0.02}};
}

TEST(Unit, SameSeedGivesTheSameWeightsForEveryLayout) {
  at::Tensor reference;
  for (const int size : {1, 2, 3, 4}) {
    comm::LocalWorld::run(size, [&](comm::Group& group) {
      Unit unit("u", parameters(), group, false);
      unit.initialise(9);
      if (size == 1) reference = unit.weight(3).clone();
      EXPECT_TRUE(at::equal(unit.weight(3), reference));
      EXPECT_EQ(unit.weight(0).sum().item<double>(), 7);
    });
  }
}

TEST(Unit, EveryElementHasExactlyOneOwner) {
  for (const int size : {1, 2, 3, 4, 7}) {
    std::vector<at::Tensor> owners;
    for (const auto& p : parameters()) owners.push_back(at::zeros({p.numel()}, at::kInt));
    std::mutex mutex;
    comm::LocalWorld::run(size, [&](comm::Group& group) {
      const Unit unit("u", parameters(), group, false);
      const std::scoped_lock lock(mutex);
      int64_t previous = 0;
      for (const auto& segment : unit.segments()) {
        EXPECT_GE(segment.shard_offset, previous);
        previous = segment.shard_offset + segment.global.size();
        owners[segment.parameter].narrow(0, segment.global.begin, segment.global.size()).add_(1);
      }
      EXPECT_LE(previous, unit.shard_numel());
    });
    for (const auto& owner : owners) EXPECT_TRUE(at::all(owner == 1).item<bool>());
  }
}

TEST(Unit, JoinedParametersAreOneMatrix) {
  const auto group = comm::make_self_group();
  Unit unit("u", parameters(), *group, true);
  unit.initialise(1);
  const at::Tensor joined = unit.joined_weight(1, 2);
  EXPECT_EQ(joined.sizes(), (at::IntArrayRef{8, 7}));
  EXPECT_TRUE(at::equal(joined.narrow(0, 5, 3), unit.weight(2)));
  unit.joined_grad(1, 2).fill_(2);
  EXPECT_EQ(unit.grad(2).sum().item<double>(), 42);
  EXPECT_THROW(unit.joined_weight(0, 2), base::Bug);
}

TEST(Unit, ReduceSumsAndGatherSpreads) {
  for (const int size : {1, 2, 3, 4}) {
    comm::LocalWorld::run(size, [&](comm::Group& group) {
      Unit unit("u", parameters(), group, true);
      unit.grad(3).fill_(group.rank() + 1);
      unit.grad(0).fill_(1);
      unit.start_reduce();
      unit.finish_reduce();
      for (const auto& segment : unit.segments()) {
        const auto range = unit.flat_range(segment.parameter, segment.global);
        const at::Tensor mine = unit.flat_grads().narrow(0, range.begin, range.size());
        const double expected = segment.parameter == 3   ? size * (size + 1) / 2.0
                                : segment.parameter == 0 ? size
                                                         : 0;
        EXPECT_TRUE(at::all(mine == expected).item<bool>());
        unit.flat_weights().narrow(0, range.begin, range.size()).fill_(3);
      }
      unit.gather_weights();
      for (size_t i = 0; i < 4; ++i) {
        EXPECT_TRUE(at::all(unit.weight(i) == 3).item<bool>());
      }
      unit.zero_grad();
      EXPECT_EQ(unit.flat_grads().abs().sum().item<double>(), 0);
    });
  }
}

}  // namespace
}  // namespace rondo::parallel

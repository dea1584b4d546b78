// The laws of layouts on the ranks of mpirun.
#include <gtest/gtest.h>

#include "support/world.hpp"
#include "train/layout_laws.hpp"

namespace rondo::train {
namespace {

TEST(LayoutByMpi, EveryMeshAndStageIsOneRank) {
  const c10::InferenceMode guard;
  const auto group = test::runtime().make_group();
  comm::Control control = test::runtime().make_control();
  check_all_layouts(*group, control);
}

TEST(LayoutByMpi, EveryMeshAndStageIsOneRankInBf16) {
  const c10::InferenceMode guard;
  const auto group = test::runtime().make_group();
  comm::Control control = test::runtime().make_control();
  check_all_layouts(*group, control, at::kBFloat16);
}

TEST(LayoutByMpi, ABf16ExchangeRoundsWhatEachRankHasSummed) {
  const c10::InferenceMode guard;
  const auto group = test::runtime().make_group();
  comm::Control control = test::runtime().make_control();
  if (group->size() > 1) check_bf16_exchange(*group, control);
}

// Reproducible mode on as many ranks as there are, against one.
TEST(LayoutByMpi, ReproducibleTrajectoriesAreThoseOfOneRank) {
  const c10::InferenceMode guard;
  const auto group = test::runtime().make_group();
  comm::Control control = test::runtime().make_control();
  if (kLanes % group->size() != 0) return;  // three ranks divide no power of two
  Alone alone;
  LayoutCase c;
  c.kv_heads = 4;
  c.lanes = kLanes;
  const Trajectory one = trajectory(c, *alone.group, alone.control, 30, 3);
  for (const auto& mesh : meshes_up_to(group->size())) {
    if (mesh.ranks() != group->size() || mesh.tensor > 1) continue;
    c.mesh = mesh;
    for (c.zero = 1; c.zero <= 3; ++c.zero) {
      EXPECT_EQ(trajectory(c, *group, control, 30, 3), one) << name_of(c);
    }
  }
}

}  // namespace
}  // namespace rondo::train

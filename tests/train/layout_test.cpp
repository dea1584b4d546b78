#include "train/layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "base/error.hpp"
#include "support/temp_folder.hpp"
#include "train/layout_laws.hpp"

namespace rondo::train {
namespace {

using testing::HasSubstr;

class LayoutOnRanks : public testing::TestWithParam<int> {};

TEST_P(LayoutOnRanks, EveryMeshAndStageIsOneRank) {
  on_ranks(GetParam(),
           [](comm::Group& world, comm::Control& control) { check_all_layouts(world, control); });
}
TEST_P(LayoutOnRanks, EveryMeshAndStageIsOneRankInBf16) {
  on_ranks(GetParam(), [](comm::Group& world, comm::Control& control) {
    check_all_layouts(world, control, at::kBFloat16);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, LayoutOnRanks, testing::Values(1, 2, 3, 4, 6, 8));

TEST(Layouts, ABf16ExchangeRoundsWhatEachRankHasSummed) { on_ranks(4, check_bf16_exchange); }

// A pack that one of two tensor ranks cannot read is thrown by all, and nothing is applied.
TEST(Layouts, WhatOneTensorRankCannotReadIsThrownByAll) {
  on_ranks(4, [](comm::Group& world, comm::Control& control) {
    LayoutCase c;
    c.mesh = {1, 2, 2};
    parallel::Mesh mesh(world, c.mesh);
    const auto model = model_of(c, mesh);
    const auto untouched = model_of(c, mesh);
    Stepper stepper(*model, control);
    const auto batches = share_of(many_packs(1), mesh.data(), 3);
    const StepData data{.weight = 1,
                        .micro_batches = std::ssize(batches),
                        .next =
                            [&](int64_t m) {
                              if (world.rank() == 1 && m == 0) base::fail_user("pack 7 is damaged");
                              return batches[static_cast<size_t>(m)];
                            },
                        .packs = batches[0].packs,
                        .seq_len = batches[0].seq_len};
    EXPECT_THAT([&] { stepper.run(data, settings_of(1)); },
                testing::ThrowsMessage<base::UserError>(HasSubstr("pack 7 is damaged")));
    for (size_t u = 0; u < model->unit_count(); ++u) {
      EXPECT_TRUE(at::equal(model->unit(u).flat_weights(), untouched->unit(u).flat_weights()));
    }
    EXPECT_TRUE(stepper.run(batches, settings_of(1)).updated);
  });
}

TEST(Layouts, LossCurvesOfFiftyStepsAreThoseOfOneRank) {
  for (const LayoutCase& c : {LayoutCase{.mesh = {1, 1, 2}, .zero = 1, .kv_heads = 4},
                              LayoutCase{.mesh = {2, 2, 2}, .zero = 3, .tied = true, .kv_heads = 1},
                              LayoutCase{.mesh = {1, 4, 1}, .zero = 2, .kv_heads = 4}}) {
    on_ranks(c.mesh.ranks(), [&](comm::Group& world, comm::Control& control) {
      check_layout(c, world, control, 50);
    });
  }
}

// On threads; the result of rank 0.
Trajectory on_threads(const LayoutCase& c, int64_t steps, size_t micro_packs) {
  Trajectory result;
  on_ranks(c.mesh.ranks(), [&](comm::Group& world, comm::Control& control) {
    const auto mine = trajectory(c, world, control, steps, micro_packs);
    if (world.rank() == 0) result = mine;
  });
  return result;
}

TEST(Reproducible, TrajectoriesAreTheSameToTheBitOnAnyNumberOfRanks) {
  for (const int tensor : {1, 2}) {
    for (const size_t micro_packs : {size_t{1}, size_t{3}}) {
      LayoutCase c;
      c.kv_heads = 4;
      c.lanes = kLanes;
      c.mesh = {1, 1, tensor};
      const Trajectory one = on_threads(c, 30, micro_packs);
      ASSERT_EQ(one.figures.size(), 60U);
      EXPECT_LT(one.figures[58], one.figures[0]) << "nothing was learnt";
      for (const auto& [replicate, shard] :
           {std::pair{1, 2}, {2, 1}, {1, 4}, {2, 2}, {1, 8}, {2, 4}}) {
        c.mesh = {replicate, shard, tensor};
        if (c.mesh.ranks() > 8) continue;
        for (int zero = 1; zero <= 3; ++zero) {
          c.zero = zero;
          EXPECT_EQ(on_threads(c, 30, micro_packs), one)
              << name_of(c) << ", " << micro_packs << " packs";
        }
      }
    }
  }
}

TEST(Reproducible, TrajectoriesInBf16AreTheSameToTheBitOnAnyNumberOfRanks) {
  LayoutCase c;
  c.kv_heads = 4;
  c.lanes = kLanes;
  c.compute = at::kBFloat16;
  c.moments = at::kBFloat16;
  const Trajectory one = on_threads(c, 10, 3);
  for (const auto& [replicate, shard, zero] :
       {std::tuple{1, 2, 1}, {2, 1, 2}, {1, 4, 3}, {2, 4, 3}}) {
    c.mesh = {replicate, shard, 1};
    c.zero = zero;
    EXPECT_EQ(on_threads(c, 10, 3), one) << name_of(c);
  }
}

// Without lanes the order of sums shows, so that the test above can fail.
TEST(Reproducible, PlainSumsDependOnTheNumberOfRanks) {
  LayoutCase c;
  c.kv_heads = 4;
  const Trajectory one = on_threads(c, 10, 3);
  c.mesh = {1, 4, 1};
  EXPECT_NE(on_threads(c, 10, 3), one);
}

TEST(Reproducible, ARunThatChangesItsRanksEndsTheSame) {
  LayoutCase c;
  c.kv_heads = 4;
  c.lanes = kLanes;
  const Trajectory straight = on_threads(c, 30, 3);
  const test::TempFolder folder;
  Trajectory changing;
  int64_t done = 0;
  for (const auto& [mesh, zero, until] : {std::tuple{parallel::MeshSize{1, 4, 1}, 3, 10},
                                          {parallel::MeshSize{2, 1, 1}, 1, 20},
                                          {parallel::MeshSize{1, 1, 1}, 2, 30}}) {
    c.mesh = mesh;
    c.zero = zero;
    on_ranks(mesh.ranks(), [&, until = until](comm::Group& world, comm::Control& control) {
      parallel::Mesh place(world, c.mesh);
      const auto model = model_of(c, place);
      if (done > 0) {
        const auto saved = checkpoint::Checkpoint::open(fmt::format("{}/{}", folder.path(), done),
                                                        control, checkpoint::Verify::kFull);
        restore(saved, *model, true);
      }
      Stepper stepper(*model, control);
      for (int64_t step = done + 1; step <= until; ++step) {
        const auto result = lane_step(stepper, place, step, 3);
        if (world.rank() > 0) continue;
        changing.figures.insert(changing.figures.end(), {result.totals.loss(), result.grad_norm});
      }
      save_layout(*model, folder.path(), fmt::format("{}", until), control);
      const std::string digest = digest_of(*model, false);
      if (world.rank() == 0) changing.digest = digest;
    });
    done = until;
  }
  EXPECT_EQ(changing, straight);
}

TEST(Layouts, ACheckpointOfAnyLayoutIsReadOnAnyOther) {
  const test::TempFolder folder;
  std::string digest;
  LayoutCase c;
  c.kv_heads = 1;
  c.mesh = {1, 2, 4};
  c.zero = 3;
  on_ranks(8, [&](comm::Group& world, comm::Control& control) {
    parallel::Mesh mesh(world, c.mesh);
    const auto model = model_of(c, mesh);
    Stepper stepper(*model, control);
    stepper.run(share_of(many_packs(1), mesh.data(), 3), settings_of(1));
    const auto saved = save_layout(*model, folder.path(), "first", control);
    if (world.rank() == 0) digest = saved.digest;
  });
  int count = 0;
  for (const auto& mesh : meshes_up_to(6)) {
    c.mesh = mesh;
    c.zero = 1 + count % 3;
    const std::string name = fmt::format("again-{}", count++);
    on_ranks(mesh.ranks(), [&](comm::Group& world, comm::Control& control) {
      parallel::Mesh place(world, mesh);
      const auto model = model_of(c, place);
      restore(checkpoint::Checkpoint::open(folder / "first", control, checkpoint::Verify::kFull),
              *model, true);
      EXPECT_EQ(save_layout(*model, folder.path(), name, control).digest, digest) << name_of(c);
    });
  }
}

TEST(Recompute, ChangesNoBit) {
  using What = model::Recompute::What;
  for (const int tensor : {1, 2}) {
    for (const bool qk_norm : {false, true}) {
      LayoutCase c;
      c.kv_heads = 4;
      c.qk_norm = qk_norm;
      c.mesh = {1, 2, tensor};
      const Trajectory kept = on_threads(c, 3, 3);
      for (const What what : {What::kNorms, What::kAttention, What::kBlock}) {
        for (const double share : {0.34, 0.67, 1.0}) {
          c.recompute = {what, share};
          EXPECT_EQ(on_threads(c, 3, 3), kept) << static_cast<int>(what) << ", " << share;
        }
      }
    }
  }
}

// --- The configuration for so many ranks.

Config config_of(int64_t packs, int64_t micro_packs, int rounds = 1) {
  Config config;
  config.place = "c.yaml";
  for (int i = 0; i < rounds; ++i) {
    RoundSection round;
    round.place = fmt::format("c.yaml:{}", 10 + i);
    round.name = i == 0 ? "first" : "second";
    round.batch.value.packs = packs;
    round.batch.value.micro_packs.value = micro_packs;
    config.rounds.push_back(round);
  }
  return config;
}

std::string rank_problems(const Config& config, int ranks) {
  try {
    check_ranks(config, ranks);
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "nothing is wrong";
}

TEST(CheckRanks, ShowsTheArithmeticOfTheBatch) {
  const Config config = config_of(16, 4, 2);
  for (const int ranks : {1, 2, 4}) EXPECT_EQ(rank_problems(config, ranks), "nothing is wrong");
  const std::string text = rank_problems(config, 3);
  EXPECT_THAT(text, HasSubstr("rounds[0] (first): batch.packs = 16 does not divide over 3 ranks "
                              "with micro_packs = 4 (16 / (3 * 4) = 1.333 micro-batches "
                              "each). Use packs = 12 or 24"));
  EXPECT_THAT(text, HasSubstr("rounds[1] (second)"));
  EXPECT_THAT(rank_problems(config, 8), HasSubstr("Use packs = 32, another"))
      << "fewer packs than one micro-batch a rank";
  const Config automatic = config_of(16, 0);
  EXPECT_EQ(rank_problems(automatic, 16), "nothing is wrong");
  EXPECT_THAT(rank_problems(automatic, 5), HasSubstr("Use packs = 15 or 20"));
}

TEST(CheckRanks, ShowsTheArithmeticOfTheMesh) {
  Config config = config_of(16, 1);
  config.parallel.tensor.value = 4;
  EXPECT_EQ(rank_problems(config, 8), "nothing is wrong");
  EXPECT_THAT(rank_problems(config, 6),
              HasSubstr("c.yaml: parallel.tensor = 4 does not divide the 6 ranks (6 / 4). Start a "
                        "multiple of 4 ranks, or use a tensor size of 1, 2, 3, 6."));
  config.parallel.tensor.value = 1;
  config.parallel.shard.value = 2;
  EXPECT_EQ(rank_problems(config, 2), "nothing is wrong");
  EXPECT_THAT(rank_problems(config, 4),
              HasSubstr("the ranks do not factor: replicate 1 * shard 2 * tensor 1 = 2, but there "
                        "are 4 ranks. Start 2 ranks, or leave shard or replicate `auto`"));
  config.parallel.replicate.value = 0;
  EXPECT_EQ(rank_problems(config, 4), "nothing is wrong");
  EXPECT_EQ(mesh_size(config, 4, 1, 1), (parallel::MeshSize{2, 2, 1}));
  config.parallel.shard.value = 0;
  EXPECT_EQ(mesh_size(config, 8, 2, 1), (parallel::MeshSize{1, 4, 2}));
  config.parallel.replicate.value = 2;
  EXPECT_EQ(mesh_size(config, 8, 2, 1), (parallel::MeshSize{2, 2, 2}));
  EXPECT_EQ(mesh_size(config, 8, 2, 0), (parallel::MeshSize{4, 1, 2})) << "nothing is divided";
}

TEST(CheckRanks, AutoTensorIsWhatShardsLeave) {
  Config config = config_of(16, 1);
  config.parallel.tensor.value = 0;
  config.parallel.shard.value = 4;
  EXPECT_EQ(rank_problems(config, 8), "nothing is wrong");
  EXPECT_THAT(rank_problems(config, 6), HasSubstr("the ranks do not factor"));
  LayoutCase c;
  const Layout layout =
      choose_layout(config, divisible_shape(c), {std::vector<std::string>(8, "a")});
  EXPECT_EQ(layout.mesh, (parallel::MeshSize{1, 4, 2}));
  // With all ranks on the shard axis, what does not fit is told as such.
  config.parallel.shard.value = 8;
  EXPECT_THAT(
      [&] {
        choose_layout(config, divisible_shape(c), {std::vector<std::string>(8, "a"), 1000});
      },
      testing::ThrowsMessage<base::UserError>(HasSubstr("a rank needs")));
}

TEST(CheckRanks, ReproducibleRunsDivideTheirLanes) {
  Config config = config_of(16, 2);
  config.parallel.reproducible = true;
  for (const int ranks : {1, 2, 4, 8}) EXPECT_EQ(rank_problems(config, ranks), "nothing is wrong");
  EXPECT_THAT(rank_problems(config, 3), HasSubstr("do not divide over 3 data-parallel ranks"));
  EXPECT_THAT(rank_problems(config_of(16, 4), 3), HasSubstr("does not divide over 3 ranks"));
  config.parallel.reduction_lanes = 6;
  EXPECT_THAT(rank_problems(config, 2), HasSubstr("reduction_lanes = 6 is no power of two"));
  config.parallel.reduction_lanes = 16;
  EXPECT_THAT(rank_problems(config, 2),
              HasSubstr("batch.packs = 16 does not divide over 16 reduction lanes with "
                        "micro_packs = 2"));
  config.rounds[0].batch.value.micro_packs.value = 0;
  EXPECT_THAT(rank_problems(config, 2), HasSubstr("micro_packs is auto"));
}

TEST(ChooseLayout, RefusesHeadsThatDoNotDivide) {
  LayoutCase c;
  c.kv_heads = 4;
  const model::Shape shape = divisible_shape(c);
  Config config = config_of(16, 1);
  const auto refusal = [&](int64_t tensor) {
    config.parallel.tensor.value = tensor;
    try {
      choose_layout(config, shape, {std::vector<std::string>(static_cast<size_t>(tensor), "a")});
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal(1), "accepted");
  EXPECT_EQ(refusal(2), "accepted");
  EXPECT_EQ(refusal(12), "accepted");
  EXPECT_THAT(refusal(5), HasSubstr("c.yaml: parallel.tensor = 5 does not divide the 12 attention "
                                    "heads of the model (12 / 5). Use 1, 2, 4, 12."));
  EXPECT_THAT(refusal(3), HasSubstr("the 4 key/value heads of the model do not divide over it"));
}

TEST(ChooseLayout, SaysWhenLayersWaitForTheNetwork) {
  LayoutCase c;
  Config config = config_of(16, 1);
  config.parallel.tensor.value = 2;
  EXPECT_TRUE(choose_layout(config, divisible_shape(c), {{"a", "a", "b", "b"}}).remarks.empty());
  const auto remarks = choose_layout(config, divisible_shape(c), {{"a", "b", "a", "b"}}).remarks;
  ASSERT_EQ(remarks.size(), 1U);
  EXPECT_THAT(remarks[0], HasSubstr("span hosts"));
}

TEST(ChooseLayout, TakesTheFirstThatFitsTheMemory) {
  LayoutCase c;
  c.kv_heads = 4;
  const model::Shape shape = divisible_shape(c);
  Config config = config_of(16, 1);
  config.rounds[0].batch.value.seq_len = 16;
  config.parallel.tensor.value = 0;
  config.parallel.zero.value = -1;
  const std::vector<std::string> hosts(4, "a");
  const auto choose = [&](int64_t memory) { return choose_layout(config, shape, {hosts, memory}); };
  const Layout plenty = choose(int64_t{1} << 30);
  EXPECT_EQ(plenty.mesh, (parallel::MeshSize{1, 4, 1}));
  EXPECT_EQ(plenty.zero, 1);
  ASSERT_EQ(plenty.remarks.size(), 1U);
  EXPECT_THAT(plenty.remarks[0], HasSubstr("tensor 1 and ZeRO-1 are the first that fit"));
  const Layout less = choose(plenty.memory.peak() - 1);
  EXPECT_TRUE(less.zero > 1 || less.mesh.tensor > 1);
  EXPECT_LT(less.memory.peak(), plenty.memory.peak());
  try {
    choose(100'000);
    ADD_FAILURE() << "it fits";
  } catch (const base::UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("c.yaml: a rank needs "));
    EXPECT_THAT(error.what(), HasSubstr("Use more ranks, parallel.zero: 3"));
  }
}

}  // namespace
}  // namespace rondo::train

// What is said of ranks, memory and disk, from made-up figures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"
#include "train/selftest_plan.hpp"
#include "train/selftest_ranks.hpp"

namespace rondo::train {
namespace {

using base::Finding;
using base::Status;
using ::testing::HasSubstr;

// Two ranks on each host, each bound to a core of its own.
std::vector<RankMeasured> made_ranks(int count) {
  std::vector<RankMeasured> ranks;
  for (int rank = 0; rank < count; ++rank) {
    ranks.push_back({.cores = {rank % 2},
                     .host_cores = 2,
                     .threads = 1,
                     .memory = 1 << 30,
                     .flops_per_s = 1e11,
                     .copy_bytes_per_s = 1e10});
  }
  return ranks;
}

comm::Hosts hosts_of_pairs(int ranks) {
  std::vector<std::string> names;
  for (int rank = 0; rank < ranks; ++rank) names.push_back(fmt::format("n{}", rank / 2 + 1));
  return comm::hosts_of(names);
}

std::vector<Finding> found(const std::vector<RankMeasured>& ranks, const std::string& check) {
  auto findings = judge_ranks(ranks, hosts_of_pairs(static_cast<int>(ranks.size())));
  std::erase_if(findings, [&](const Finding& finding) { return finding.check != check; });
  return findings;
}

TEST(JudgeRanks, EqualOnesAreFine) {
  for (const int count : {1, 2, 6}) {
    EXPECT_EQ(base::worst(judge_ranks(made_ranks(count), hosts_of_pairs(count))), Status::kOk);
  }
}

TEST(JudgeRanks, ASlowRankIsNamedWithItsHost) {
  auto ranks = made_ranks(6);
  ranks[3].flops_per_s = 5e10;
  ranks[4].copy_bytes_per_s = 7.6e9;
  const auto products = found(ranks, "matrix products");
  ASSERT_EQ(products.size(), 1);
  EXPECT_EQ(products[0].status, Status::kWarning);
  EXPECT_THAT(products[0].text, HasSubstr("rank 3 on n2: 50.0 GFLOP/s, 50 % of the others'"));
  EXPECT_EQ(found(ranks, "memory copies")[0].status, Status::kOk);
  ranks[4].copy_bytes_per_s = 7.4e9;
  EXPECT_THAT(found(ranks, "memory copies")[0].text, HasSubstr("rank 4 on n3: 7.40 GB/s"));
}

TEST(JudgeRanks, ManySlowRanksAreNotAllListed) {
  auto ranks = made_ranks(60);
  for (size_t rank = 0; rank < 20; ++rank) ranks[rank].flops_per_s = 1e10;
  const auto products = found(ranks, "matrix products");
  ASSERT_EQ(products.size(), 8);
  EXPECT_THAT(products[7].text, HasSubstr("(and 12 more ranks)"));
}

TEST(JudgeRanks, RanksThatShareCoresAreNamed) {
  auto ranks = made_ranks(4);
  ranks[3].cores = {0};
  auto findings = found(ranks, "cores");
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].status, Status::kWarning);
  EXPECT_THAT(findings[0].text,
              HasSubstr("n2: ranks 2, 3 with 2 threads in all share 1 cores (0): start with"));
  ranks[3].cores = {0, 1};
  ranks[3].threads = 4;
  findings = found(ranks, "cores");
  EXPECT_THAT(findings[0].text, HasSubstr("n2: rank 3 computes with 4 threads on 2 cores (0-1)"));
}

TEST(MeasureRanks, TellsTheSameOnAllRanks) {
  for (const int size : {1, 2}) {
    comm::LocalWorld::run(size, [&](comm::Group& world, comm::Control& control) {
      const comm::Hosts hosts = hosts_of_pairs(size);
      const auto ranks = measure_ranks(hosts, control, world, 0.05);
      ASSERT_EQ(ranks.size(), static_cast<size_t>(size));
      for (const RankMeasured& rank : ranks) {
        EXPECT_GT(rank.flops_per_s, 0);
        EXPECT_GT(rank.copy_bytes_per_s, 0);
        EXPECT_GT(rank.memory, 0);
        EXPECT_FALSE(rank.cores.empty());
        EXPECT_LE(std::ssize(rank.cores), rank.host_cores);
      }
      control.same_on_all_ranks(to_json(ranks, hosts).dump(), "what was measured");
    });
  }
}

Config made_config(const std::string& dir) {
  Config config;
  config.place = "config.yaml";
  config.run.name = "run";
  config.run.dir = dir;
  config.rounds.resize(3);
  config.checkpoint.keep = 2;
  for (RoundSection& round : config.rounds) round.batch.value.seq_len = 64;
  return config;
}

TEST(DiskNeed, CountsCheckpointsAndWhatRoundsLeave) {
  const test::TempFolder folder;
  Config config = made_config(folder.path());
  DiskNeed need = disk_need(config, 1000);
  EXPECT_EQ(need.checkpoint, 12000);
  EXPECT_EQ(need.checkpoints(), 36000);
  EXPECT_EQ(need.rounds, 4000 * 2 + 4000 * 3);
  EXPECT_EQ(need.there, 0);
  config.exports.dtype = "bf16";
  EXPECT_EQ(disk_need(config, 1000).rounds, 4000 * 2 + 2000 * 3);
  config.exports.rounds = false;
  EXPECT_EQ(disk_need(config, 1000).rounds, 4000 * 2);

  std::filesystem::create_directories(config.run_folder() + "/checkpoints/step-1");
  std::ofstream(config.run_folder() + "/checkpoints/step-1/shard") << std::string(5000, 'x');
  EXPECT_EQ(disk_need(config, 1000).there, 5000);
}

TEST(JudgeDisk, WhatIsThereAlreadyIsNotNeededAgain) {
  DiskNeed need = {.checkpoint = 1 << 20, .copies = 3, .rounds = 1 << 20, .there = 0};
  EXPECT_EQ(judge_disk(need, 4 << 20, "/runs").status, Status::kOk);
  const Finding later = judge_disk(need, 3 << 20, "/runs");
  EXPECT_EQ(later.status, Status::kWarning);
  EXPECT_THAT(later.text, HasSubstr("a later round will find the disk full"));
  const Finding full = judge_disk(need, 2 << 20, "/runs");
  EXPECT_EQ(full.status, Status::kFailed);
  EXPECT_THAT(full.text, HasSubstr("3 checkpoints of 1.00 MiB = 3.00 MiB exist at a time, but "
                                   "2.00 MiB are free in /runs"));
  need.there = 2 << 20;
  EXPECT_EQ(judge_disk(need, 2 << 20, "/runs").status, Status::kOk);
}

TEST(JudgeMemory, ToldFromWrongInput) {
  Config config = made_config("runs");
  model::Shape shape;
  shape.hidden = 64;
  shape.layers = 2;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_width = 16;
  shape.ffn = 128;
  shape.vocab = 256;
  Machine machine{.hosts = {"n1", "n1"}, .memory = int64_t{1} << 30};
  EXPECT_EQ(judge_memory(config, shape, machine).status, Status::kOk);
  machine.memory = 1000;
  const Finding small = judge_memory(config, shape, machine);
  EXPECT_EQ(small.status, Status::kFailed);
  EXPECT_THAT(small.text, HasSubstr("a rank needs"));
  config.rounds[1].batch.value.packs = 3;
  EXPECT_THROW(judge_memory(config, shape, machine), base::UserError);
}

}  // namespace
}  // namespace rondo::train

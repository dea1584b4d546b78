#include "data/loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "data/packed_format.hpp"
#include "data/packing.hpp"

namespace rondo::data {
namespace {

using test::TempFolder;
using testing::AllOf;
using testing::HasSubstr;

class LoaderTest : public testing::Test {
 protected:
  void SetUp() override {
    test::write_tokenized(folder_ / "in.h5", test::random_tokenized(1, 150, 2, 64));
    pack_on(1, request_for(folder_ / "in.h5", folder_ / "out"));
  }
  PackedSet open() const { return PackedSet::open(folder_ / "out", 100); }

  // Examples of a step in global order, as the ranks' micro-batches hold them.
  static std::vector<uint64_t> gather(const PackedSet& set, LoaderConfig config, int64_t step) {
    std::vector<uint64_t> ids;
    for (config.rank = 0; config.rank < config.size; ++config.rank) {
      Loader loader(set, config);
      for (const PackedBatch& batch : loader.step(step)) {
        EXPECT_EQ(batch.packs, config.micro_packs);
        ids.insert(ids.end(), batch.example_ids.begin(), batch.example_ids.end());
      }
    }
    return ids;
  }

  TempFolder folder_;
};

TEST_F(LoaderTest, OrderIsTheSameForAnyRanksMicroBatchesAndThreads) {
  const PackedSet set = open();
  Loader alone(set, {.packs_per_step = 12, .micro_packs = 12, .seed = 5});
  ASSERT_GE(alone.steps_per_epoch(), 4);
  for (int64_t step = 0; step < 2 * alone.steps_per_epoch(); ++step) {
    const std::vector<uint64_t> expected = alone.example_ids(step);
    EXPECT_FALSE(expected.empty());
    for (const int size : {1, 2, 3, 4}) {
      for (const int64_t micro_packs : {1, 12 / size}) {
        for (const int64_t read_ahead : {int64_t{0}, micro_packs, int64_t{12}, int64_t{40}}) {
          EXPECT_EQ(gather(set,
                           {.packs_per_step = 12,
                            .micro_packs = micro_packs,
                            .size = size,
                            .seed = 5,
                            .read_ahead = read_ahead},
                           step),
                    expected);
        }
      }
    }
  }
}

TEST_F(LoaderTest, ShowsEveryTrainableTokenOncePerEpoch) {
  const PackedSet set = open();
  for (const int size : {1, 3}) {
    for (const int64_t epoch : {0, 1}) {
      std::map<uint64_t, int> seen;
      int64_t trained = 0;
      double weight = 0;
      for (int rank = 0; rank < size; ++rank) {
        Loader loader(set, {.packs_per_step = 6, .micro_packs = 2, .rank = rank, .size = size});
        const int64_t first = epoch * loader.steps_per_epoch();
        for (int64_t step = first; step < first + loader.steps_per_epoch(); ++step) {
          const std::vector<PackedBatch> batches = loader.step(step);
          EXPECT_EQ(static_cast<int64_t>(batches.size()), loader.micro_batches());
          for (const PackedBatch& batch : batches) {
            for (const uint64_t id : batch.example_ids) ++seen[id];
            trained += batch.trainable_tokens;
            weight += batch.weight;
          }
        }
      }
      EXPECT_EQ(seen.size(), 150U);
      for (const auto& [id, count] : seen) EXPECT_EQ(count, 1) << id;
      EXPECT_EQ(trained, set.account().at("trained_tokens"));
      EXPECT_EQ(weight, set.weight());
    }
  }
}

TEST_F(LoaderTest, FillsTheLastStepWithEmptyPacks) {
  const PackedSet set = open();
  const int64_t packs_per_step = set.packs() - 1;
  Loader loader(set, {.packs_per_step = packs_per_step, .micro_packs = 1});
  EXPECT_EQ(loader.steps_per_epoch(), 2);
  const std::vector<int64_t> packs = loader.packs_of(1);
  EXPECT_NE(packs[0], kEmptyPack);
  EXPECT_TRUE(
      std::all_of(packs.begin() + 1, packs.end(), [](int64_t pack) { return pack == kEmptyPack; }));
  const std::vector<PackedBatch> batches = loader.step(1);
  EXPECT_EQ(static_cast<int64_t>(batches.size()), packs_per_step);
  EXPECT_GT(batches[0].weight, 0);
  for (size_t i = 1; i < batches.size(); ++i) EXPECT_EQ(batches[i].weight, 0);
}

TEST_F(LoaderTest, ShufflesEveryEpochAnew) {
  const PackedSet set = open();
  const auto order = [&](uint64_t seed, int64_t epoch) {
    Loader loader(set, {.packs_per_step = set.packs(), .micro_packs = 1, .seed = seed});
    return loader.packs_of(epoch);
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 0), order(2, 0));
  const std::vector<int64_t> first = order(1, 0);
  const std::vector<int64_t> second = order(1, 1);
  EXPECT_TRUE(std::is_permutation(first.begin(), first.end(), second.begin(), second.end()));
}

TEST_F(LoaderTest, ServesAnyStepInAnyOrder) {
  const PackedSet set = open();
  LoaderConfig config{.packs_per_step = 4, .micro_packs = 4, .read_ahead = 8};
  Loader loader(set, config);
  for (const int64_t step : {3, 4, 0, 1, 9, 9, 2}) {
    const std::vector<PackedBatch> batches = loader.step(step);
    EXPECT_EQ(batches.at(0).example_ids, loader.example_ids(step)) << step;
  }
  EXPECT_GT(loader.waited_s(), 0);
}

TEST_F(LoaderTest, EvaluatesEveryPackOnceInItsOwnOrder) {
  const PackedSet set = open();
  for (const int size : {1, 2, 3, 4}) {
    std::vector<int64_t> visited;
    Loader loader(set, evaluation_order(2, 0, size));
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      for (const int64_t pack : loader.packs_of(step)) visited.push_back(pack);
    }
    for (int64_t p = 0; p < set.packs(); ++p) EXPECT_EQ(visited.at(static_cast<size_t>(p)), p);
    for (size_t p = static_cast<size_t>(set.packs()); p < visited.size(); ++p) {
      EXPECT_EQ(visited[p], kEmptyPack);
    }
    EXPECT_EQ(gather(set, evaluation_order(2, 0, size), 0), loader.example_ids(0));
  }
}

TEST_F(LoaderTest, CarriesAReadErrorToTheStepItBelongsTo) {
  const PackedSet set = open();
  Loader loader(set, evaluation_order(1, 0, 1));
  loader.step(0);
  const std::string shard = folder_ / ("out/" + shard_name(0));
  loader.step(1);
  std::filesystem::resize_file(shard, 1000);
  EXPECT_THAT(user_error([&] {
                for (int64_t step = 2; step < loader.steps_per_epoch(); ++step) loader.step(step);
              }),
              AllOf(HasSubstr("packed-00000.h5"), HasSubstr("truncated")));
}

TEST_F(LoaderTest, NeverReadsMorePacksAheadThanAllowed) {
  const PackedSet set = open();
  for (const int64_t read_ahead : {2, 5, 6}) {
    LoaderConfig config{.packs_per_step = 12, .micro_packs = 2, .read_ahead = read_ahead};
    Loader loader(set, config);
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      for (int64_t m = 0; m < loader.micro_batches(); ++m) {
        loader.micro_batch(step, m);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));  // it could run far ahead
      }
    }
    EXPECT_LE(loader.most_read_ahead(), read_ahead);
    EXPECT_EQ(loader.most_read_ahead(), read_ahead / 2 * 2);
  }
  EXPECT_THAT(
      user_error([&] { Loader(set, {.packs_per_step = 12, .micro_packs = 4, .read_ahead = 3}); }),
      HasSubstr("batch.read_ahead = 3 packs are less than a micro-batch"));
}

TEST_F(LoaderTest, KnowsTheWeightOfAStepBeforeItIsRead) {
  const PackedSet set = open();
  for (const Average average : {Average::kTokens, Average::kExamples}) {
    Loader loader(set, {.packs_per_step = 6, .micro_packs = 2, .average = average});
    double total = 0;
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      double weight = 0;
      for (const PackedBatch& batch : loader.step(step)) weight += batch.weight;
      EXPECT_NEAR(loader.weight(step), weight, 1e-5 * weight);
      if (average == Average::kTokens) {
        EXPECT_EQ(loader.weight(step), weight);
      }
      total += loader.weight(step);
    }
    EXPECT_EQ(total, average == Average::kTokens ? set.weight() : 150);
  }
}

TEST(CheckBatchArithmetic, SaysWhatDoesNotDivide) {
  check_batch_arithmetic(12, 2, 3);
  EXPECT_THAT(
      user_error([] { check_batch_arithmetic(16, 4, 3); }),
      AllOf(HasSubstr("batch.packs = 16"), HasSubstr("16 / 12"), HasSubstr("multiple of 12")));
}

}  // namespace
}  // namespace rondo::data

#include "data/pack_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "base/random.hpp"
#include "data/bench_pack.hpp"

namespace rondo::data {
namespace {

std::vector<int32_t> random_lengths(uint64_t seed, int64_t count, int32_t longest) {
  const base::Random random(seed, "lengths");
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < count; ++i) {
    lengths.push_back(1 + static_cast<int32_t>(random.below(static_cast<uint64_t>(longest),
                                                            static_cast<uint64_t>(i))));
  }
  return lengths;
}

std::vector<std::vector<int64_t>> packs_of(const PackPlan& plan) {
  std::vector<std::vector<int64_t>> packs;
  for (size_t p = 0; p + 1 < plan.pack_offsets.size(); ++p) {
    packs.emplace_back(plan.documents.begin() + plan.pack_offsets[p],
                       plan.documents.begin() + plan.pack_offsets[p + 1]);
  }
  return packs;
}

// Best-fit decreasing as it is defined, looking at every pack for every document.
std::vector<std::vector<int64_t>> naive_best_fit(const std::vector<int32_t>& lengths,
                                                 const PackLimits& limits) {
  struct Pack {
    int64_t room;
    size_t changed;  // when it became so full
    std::vector<int64_t> documents;
  };
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return lengths[static_cast<size_t>(a)] > lengths[static_cast<size_t>(b)];
  });
  std::vector<Pack> packs;
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t length = lengths[static_cast<size_t>(order[i])];
    Pack* best = nullptr;
    for (Pack& pack : packs) {
      const auto held = static_cast<int64_t>(pack.documents.size());
      const bool open = limits.max_documents == 0 || held < limits.max_documents;
      if (!open || pack.room < length) continue;
      if (best == nullptr || pack.room < best->room ||
          (pack.room == best->room && pack.changed > best->changed)) {
        best = &pack;
      }
    }
    if (best == nullptr) best = &packs.emplace_back(Pack{limits.capacity, 0, {}});
    best->room -= length;
    best->changed = i;
    best->documents.push_back(order[i]);
  }
  std::vector<std::vector<int64_t>> result;
  for (Pack& pack : packs) result.push_back(pack.documents);
  return result;
}

TEST(PackPlan, IsBestFitDecreasing) {
  for (const int64_t capacity : {7, 64, 100, 4096, 10000}) {
    for (const int64_t max_documents : {0, 1, 3}) {
      for (const int64_t count : {0, 1, 2, 500}) {
        for (const int32_t longest : {static_cast<int32_t>(capacity), 5}) {
          const auto lengths = random_lengths(static_cast<uint64_t>(count), count, longest);
          const PackLimits limits{capacity, max_documents};
          auto found = packs_of(plan_packs(lengths, limits, 1));
          auto expected = naive_best_fit(lengths, limits);
          std::sort(found.begin(), found.end());
          std::sort(expected.begin(), expected.end());
          EXPECT_EQ(found, expected) << capacity << " " << max_documents << " " << count;
        }
      }
    }
  }
}

TEST(PackPlan, HoldsEveryDocumentOnceWithinTheCapacity) {
  const auto lengths = random_lengths(5, 20000, 300);
  const PackPlan plan = plan_packs(lengths, {.capacity = 1024, .max_documents = 9}, 3);
  std::vector<int64_t> seen = plan.documents;
  std::sort(seen.begin(), seen.end());
  std::vector<int64_t> all(lengths.size());
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, all);
  for (const auto& pack : packs_of(plan)) {
    int64_t tokens = 0;
    for (const int64_t document : pack) tokens += lengths[static_cast<size_t>(document)];
    EXPECT_LE(tokens, 1024);
    EXPECT_LE(pack.size(), 9U);
    EXPECT_GE(pack.size(), 1U);
  }
}

TEST(PackPlan, ShufflesPacksBySeedAlone) {
  const auto lengths = random_lengths(5, 2000, 300);
  const PackPlan one = plan_packs(lengths, {.capacity = 512}, 1);
  const PackPlan same = plan_packs(lengths, {.capacity = 512}, 1);
  const PackPlan other = plan_packs(lengths, {.capacity = 512}, 2);
  EXPECT_EQ(one.documents, same.documents);
  EXPECT_EQ(one.pack_offsets, same.pack_offsets);
  EXPECT_NE(one.documents, other.documents);
  auto packs = packs_of(one);
  auto other_packs = packs_of(other);
  std::sort(packs.begin(), packs.end());
  std::sort(other_packs.begin(), other_packs.end());
  EXPECT_EQ(packs, other_packs);
}

TEST(PackPlan, RefusesLengthsThatNoPackHolds) {
  EXPECT_THROW(plan_packs(std::vector<int32_t>{4, 9}, {.capacity = 8}, 1), base::Bug);
  EXPECT_THROW(plan_packs(std::vector<int32_t>{0}, {.capacity = 8}, 1), base::Bug);
}

TEST(BenchPack, FillsPacksAlmostCompletely) {
  const nlohmann::json figures = bench_pack(300000, 1);
  EXPECT_GE(figures.at("fill").get<double>(), 0.999);
  EXPECT_GT(figures.at("documents_per_s").get<double>(), 0);
  EXPECT_NEAR(figures.at("mean_tokens").get<double>(), 400, 20);
}

}  // namespace
}  // namespace rondo::data

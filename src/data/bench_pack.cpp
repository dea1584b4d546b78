#include "data/bench_pack.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.hpp"
#include "data/pack_plan.hpp"
#include "data/step_order.hpp"

namespace rondo::data {

nlohmann::json bench_pack(int64_t documents, uint64_t seed) {
  constexpr int64_t kCapacity = 4096;
  constexpr int64_t kPacksPerStep = 512;
  constexpr double kMean = 400.0;
  constexpr double kSigma = 1.0;
  std::vector<float> normal(static_cast<size_t>(documents));
  base::Random(seed, "bench pack").normal(0, normal.data(), documents);
  // The mean of exp(N(mu, sigma)) is exp(mu + sigma^2 / 2).
  const double mu = std::log(kMean) - kSigma * kSigma / 2;
  std::vector<int32_t> lengths(normal.size());
  std::transform(normal.begin(), normal.end(), lengths.begin(), [&](float z) {
    const double length = std::round(std::exp(mu + kSigma * static_cast<double>(z)));
    return static_cast<int32_t>(std::clamp(length, 1.0, static_cast<double>(kCapacity)));
  });
  const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});

  const auto begin = std::chrono::steady_clock::now();
  const PackPlan plan = plan_packs(lengths, {.capacity = kCapacity}, seed);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;

  const std::vector<double> costs = attention_costs(plan, lengths);
  const auto order_begin = std::chrono::steady_clock::now();
  const StepOrder order{.packs_per_step = kPacksPerStep, .seed = seed, .plan_hash = "bench"};
  const std::vector<int64_t> places = order_of_epoch(order, costs, 0);
  const std::chrono::duration<double> order_took = std::chrono::steady_clock::now() - order_begin;
  const Imbalance imbalance = imbalance_of(places, costs, kPacksPerStep, 8);

  const auto share = [](int64_t part, int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(whole, 1));
  };
  return {{"documents", documents},
          {"capacity", kCapacity},
          {"mean_tokens", share(tokens, documents)},
          {"packs", plan.packs()},
          {"fill", share(tokens, plan.packs() * kCapacity)},
          {"seconds", took.count()},
          {"order_seconds", order_took.count()},
          {"packs_per_step", kPacksPerStep},
          {"imbalance_of_8_ranks", {{"mean", imbalance.mean}, {"worst", imbalance.worst}}},
          {"documents_per_s", static_cast<double>(documents) / took.count()}};
}

}  // namespace rondo::data

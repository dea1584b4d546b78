#include "data/bench_pack.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.hpp"
#include "data/pack_plan.hpp"

namespace rondo::data {

nlohmann::json bench_pack(int64_t documents, uint64_t seed) {
  constexpr int64_t kCapacity = 4096;
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

  const auto share = [](int64_t part, int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(whole, 1));
  };
  return {{"documents", documents},
          {"capacity", kCapacity},
          {"mean_tokens", share(tokens, documents)},
          {"packs", plan.packs()},
          {"fill", share(tokens, plan.packs() * kCapacity)},
          {"seconds", took.count()},
          {"documents_per_s", static_cast<double>(documents) / took.count()}};
}

}  // namespace rondo::data

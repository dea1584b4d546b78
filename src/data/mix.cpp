#include "data/mix.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/random.hpp"

namespace rondo::data {

namespace {

constexpr double kTolerance = 0.005;  // of a share, before it is remarked on

struct Sums {
  double examples = 0;
  double tokens = 0;
  double trainable = 0;
  void add(const Drawable& drawable) {
    examples += 1;
    tokens += static_cast<double>(drawable.tokens);
    trainable += static_cast<double>(drawable.trainable);
  }
  double by(MixBy by) const {
    if (by == MixBy::kExamples) return examples;
    return by == MixBy::kTokens ? tokens : trainable;
  }
};

double size_of(const Drawable& drawable, MixBy by) {
  Sums one;
  one.add(drawable);
  return one.by(by);
}

// Shares that sum to 1.
std::vector<double> shares_of(const Mix& mix, const std::vector<Sums>& wholes) {
  std::vector<double> shares;
  double given = 0;
  double powers = 0;
  double largest = 0;
  for (const Sums& whole : wholes) largest = std::max(largest, whole.by(mix.by));
  // Relative to the largest, so that no power overflows.
  const auto power_of = [&](size_t p) {
    return std::pow(wholes[p].by(mix.by) / largest, 1 / mix.temperature);
  };
  for (size_t p = 0; p < mix.parts.size(); ++p) {
    shares.push_back(mix.parts[p].share);
    given += mix.parts[p].share;
    if (mix.parts[p].share == 0) powers += power_of(p);
  }
  if (powers > 0 && !(given < 1 - kLeastLeft)) {
    base::fail_user(
        "shares: those that are given sum to {}, which leaves nothing to the ones that are auto. "
        "Let them sum to less than 1.",
        given);
  }
  for (size_t p = 0; p < shares.size(); ++p) {
    const bool automatic = shares[p] == 0;
    shares[p] =
        automatic ? (1 - given) * power_of(p) / powers : shares[p] / (powers > 0 ? 1 : given);
  }
  return shares;
}

// Places in a pool, of which `wanted` is the sum of sizes and `whole` that of all, as nearly as
// whole passes and a seeded part of one more can have it.
std::vector<size_t> draw_from(const std::vector<Drawable>& pool, double wanted, double whole,
                              MixBy by, uint64_t seed, const std::string& name) {
  const double passes = std::floor(wanted / whole);
  std::vector<size_t> drawn;
  for (double pass = 0; pass < passes; ++pass) {
    for (size_t i = 0; i < pool.size(); ++i) drawn.push_back(i);
  }
  double rest = wanted - passes * whole;
  std::vector<size_t> more;
  for (const int64_t i :
       base::Random(seed, "part of a pass of " + name).permutation(std::ssize(pool))) {
    const double size = size_of(pool[static_cast<size_t>(i)], by);
    if (size / 2 > rest) continue;  // it would miss the sum by more than leaving it out does
    more.push_back(static_cast<size_t>(i));
    rest -= size;
    if (rest <= 0) break;
  }
  std::ranges::sort(more);
  drawn.insert(drawn.end(), more.begin(), more.end());
  return drawn;
}

nlohmann::json shares_json(const Sums& part, const Sums& whole) {
  return {{"trainable", part.trainable / std::max(whole.trainable, 1.0)},
          {"tokens", part.tokens / std::max(whole.tokens, 1.0)},
          {"examples", part.examples / std::max(whole.examples, 1.0)}};
}

}  // namespace

const char* name_of(MixBy by) {
  constexpr std::array kNames = {"trainable", "tokens", "examples"};
  return kNames[static_cast<size_t>(by)];
}

Drawn draw(const Mix& mix, const std::vector<std::vector<Drawable>>& pools, uint64_t seed) {
  RONDO_CHECK(mix.parts.size() == pools.size() && !pools.empty() && mix.temperature > 0);
  std::vector<Sums> wholes(pools.size());
  Sums all;
  for (size_t p = 0; p < pools.size(); ++p) {
    for (const Drawable& drawable : pools[p]) {
      wholes[p].add(drawable);
      all.add(drawable);
    }
    if (!(wholes[p].by(mix.by) > 0)) {
      base::fail_user("shares.{}: there is nothing to draw from: no example is left.",
                      mix.parts[p].name);
    }
  }
  const std::vector<double> shares = shares_of(mix, wholes);
  // The budget is of tokens; a part has its own number of them to each unit of its share.
  double tokens_per_unit = 0;
  for (size_t p = 0; p < pools.size(); ++p) {
    tokens_per_unit += shares[p] * wholes[p].tokens / wholes[p].by(mix.by);
  }
  const double budget = mix.tokens > 0 ? static_cast<double>(mix.tokens) : all.tokens;
  const double units = budget / tokens_per_unit;

  Drawn result;
  std::vector<Sums> drawn(pools.size());
  Sums sum;
  for (size_t p = 0; p < pools.size(); ++p) {
    const std::vector<size_t> places = draw_from(pools[p], shares[p] * units, wholes[p].by(mix.by),
                                                 mix.by, seed, mix.parts[p].name);
    if (places.empty()) {
      base::fail_user(
          "shares.{}: {:.3f} % of a budget of {:.0f} tokens is less than one of its examples. "
          "Raise "
          "`tokens` or the share.",
          mix.parts[p].name, 100 * shares[p], budget);
    }
    std::vector<int64_t>& examples = result.examples.emplace_back();
    for (const size_t place : places) {
      examples.push_back(pools[p][place].example);
      drawn[p].add(pools[p][place]);
      sum.add(pools[p][place]);
    }
  }
  nlohmann::json parts = nlohmann::json::array();
  for (size_t p = 0; p < pools.size(); ++p) {
    const double realised = drawn[p].by(mix.by) / std::max(sum.by(mix.by), 1.0);
    const auto left_out =
        std::max<int64_t>(0, std::ssize(pools[p]) - std::ssize(result.examples[p]));
    parts.push_back({{"name", mix.parts[p].name},
                     {"asked", shares[p]},
                     {"realised", shares_json(drawn[p], sum)},
                     {"passes", drawn[p].by(mix.by) / wholes[p].by(mix.by)},
                     {"documents", std::ssize(result.examples[p])},
                     {"left_out", left_out}});
    if (std::abs(realised - shares[p]) <= kTolerance) continue;
    result.remarks.push_back(fmt::format(
        "the share of {} is {:.2f} % by {}, {:.2f} % was asked for: its examples are too large for "
        "a budget of {:.0f} tokens. Raise `tokens`.",
        mix.parts[p].name, 100 * realised, name_of(mix.by), 100 * shares[p], budget));
  }
  result.report = {{"by", name_of(mix.by)},
                   {"temperature", mix.temperature},
                   {"tokens_asked", budget},
                   {"tokens", sum.tokens},
                   {"parts", parts}};
  return result;
}

}  // namespace rondo::data

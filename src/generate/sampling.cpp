#include "generate/sampling.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.hpp"

namespace rondo::generate {
namespace {

struct Candidate {
  int32_t token;
  float logit;
  double weight;  // not normalised
};

bool more_likely(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void check_finite(std::span<const float> logits) {
  constexpr uint32_t kExponent = 0x7F800000;
  bool bad = false;
  for (const float logit : logits) {
    bad |= (std::bit_cast<uint32_t>(logit) & kExponent) == kExponent;
  }
  if (bad) {
    base::fail_user(
        "The model gives NaN or infinity as a logit: its weights are damaged, or its training "
        "diverged. Take an earlier checkpoint.");
  }
}

int32_t most_likely(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

// Keeps the most likely candidates, the last of which makes their sum reach `share` of the whole,
// sorted from the most likely.
void keep_share(std::vector<Candidate>& candidates, double share) {
  double whole = 0;
  for (const Candidate& candidate : candidates) whole += candidate.weight;
  const auto less_likely = [](const Candidate& a, const Candidate& b) { return more_likely(b, a); };
  // A heap, since few of many thousand candidates are kept as a rule.
  std::ranges::make_heap(candidates, less_likely);
  std::vector<Candidate> kept;
  double sum = 0;
  auto end = candidates.end();
  while (end != candidates.begin() && (kept.empty() || sum < share * whole)) {
    std::ranges::pop_heap(candidates.begin(), end, less_likely);
    --end;
    kept.push_back(*end);
    sum += end->weight;
  }
  candidates = std::move(kept);
}

}  // namespace

void Sampling::validate() const {
  if (!std::isfinite(temperature) || temperature < 0) {
    base::fail_user("temperature = {}. It must be 0 (greedy) or a positive number.", temperature);
  }
  if (top_k < 0) {
    base::fail_user("top_k = {}. It must be 0 (all tokens) or the number of tokens to choose from.",
                    top_k);
  }
  if (!(top_p > 0 && top_p <= 1)) {
    base::fail_user("top_p = {}. It must be above 0 and at most 1 (all tokens).", top_p);
  }
}

int32_t choose_token(std::span<const float> logits, const Sampling& sampling,
                     const base::Random& random, uint64_t position) {
  check_finite(logits);
  const int32_t best = most_likely(logits);
  if (sampling.greedy()) return best;

  const double largest = static_cast<double>(logits[static_cast<size_t>(best)]);
  std::vector<Candidate> candidates(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const double distance = static_cast<double>(logits[i]) - largest;
    candidates[i] = {static_cast<int32_t>(i), logits[i], std::exp(distance / sampling.temperature)};
  }
  if (sampling.top_k > 0 && sampling.top_k < std::ssize(candidates)) {
    std::ranges::nth_element(candidates, candidates.begin() + sampling.top_k, more_likely);
    candidates.resize(static_cast<size_t>(sampling.top_k));
    std::ranges::sort(candidates, more_likely);
  }
  if (sampling.top_p < 1) keep_share(candidates, sampling.top_p);

  double whole = 0;
  for (const Candidate& candidate : candidates) whole += candidate.weight;
  double left = random.uniform(position) * whole;
  for (const Candidate& candidate : candidates) {
    if (left < candidate.weight) return candidate.token;
    left -= candidate.weight;
  }
  return best;  // the draw lies beyond the last candidate by rounding alone
}

double log_probability(std::span<const float> logits, int32_t token) {
  const double largest = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return static_cast<double>(logits[static_cast<size_t>(token)]) - largest - std::log(sum);
}

}  // namespace rondo::generate

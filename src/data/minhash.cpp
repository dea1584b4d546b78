#include "data/minhash.hpp"

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "base/hash.hpp"

namespace rondo::data {

namespace {

// least[k] = min(least[k], hash number k of the shingle). Hash k is the finaliser of MurmurHash3
// (A. Appleby, public domain), a bijection of 32 bits, of low + k * high: a vector loop.
void take_minima(uint64_t shingle, std::span<uint32_t> least) {
  const auto low = static_cast<uint32_t>(shingle);
  const uint32_t high = static_cast<uint32_t>(shingle >> 32) | 1;
  for (size_t k = 0; k < least.size(); ++k) {
    uint32_t value = low + static_cast<uint32_t>(k) * high;
    value ^= value >> 16;
    value *= 0x85EBCA6B;
    value ^= value >> 13;
    value *= 0xC2B2AE35;
    value ^= value >> 16;
    least[k] = std::min(least[k], value);
  }
}

// Sorted by hash, then by words, without repeats.
void make_set(std::vector<WordRun>& runs, std::string_view text) {
  const auto key = [&](const WordRun& run) { return std::pair(run.hash, run.of(text)); };
  std::ranges::sort(runs, {}, key);
  const auto same = [&](const WordRun& a, const WordRun& b) { return key(a) == key(b); };
  runs.erase(std::unique(runs.begin(), runs.end(), same), runs.end());
}

struct Overlap {
  size_t common = 0;
  size_t united = 0;
};

Overlap overlap(std::string_view a, std::string_view b, Turns turns, int words, HashText hash) {
  std::vector<WordRun> in_a = word_runs(a, turns, words, true, hash);
  std::vector<WordRun> in_b = word_runs(b, turns, words, true, hash);
  make_set(in_a, a);
  make_set(in_b, b);
  Overlap result;
  for (size_t i = 0, j = 0; i < in_a.size() && j < in_b.size();) {
    const auto left = std::pair(in_a[i].hash, in_a[i].of(a));
    const auto right = std::pair(in_b[j].hash, in_b[j].of(b));
    if (left == right) ++result.common;
    if (left <= right) ++i;
    if (right <= left) ++j;
  }
  result.united = in_a.size() + in_b.size() - result.common;
  return result;
}

double share(const Overlap& found) {
  return found.united == 0 ? 0
                           : static_cast<double>(found.common) / static_cast<double>(found.united);
}

}  // namespace

MinHash::MinHash(int bands, int rows) : bands_(bands), rows_(rows) {
  RONDO_CHECK(bands >= 1 && rows >= 1);
}

std::vector<uint64_t> MinHash::band_keys(std::span<const WordRun> shingles) const {
  RONDO_CHECK(!shingles.empty());
  std::vector<uint32_t> least(static_cast<size_t>(bands_) * static_cast<size_t>(rows_),
                              std::numeric_limits<uint32_t>::max());
  for (const WordRun& shingle : shingles) take_minima(shingle.hash, least);
  std::vector<uint64_t> keys;
  for (size_t band = 0; band < static_cast<size_t>(bands_); ++band) {
    const auto* rows =
        reinterpret_cast<const char*>(least.data() + band * static_cast<size_t>(rows_));
    keys.push_back(base::hash64({rows, static_cast<size_t>(rows_) * sizeof(uint32_t)}, band));
  }
  return keys;
}

double similarity(std::string_view a, std::string_view b, int shingle_words, HashText hash) {
  const Overlap answers = overlap(a, b, Turns::kAssistant, shingle_words, hash);
  if (answers.united > 0 && same_questions(a, b)) return share(answers);
  if (answers.united > 0 && answers.common == 0) return 0;
  return share(overlap(a, b, Turns::kAll, shingle_words, hash));
}

}  // namespace rondo::data

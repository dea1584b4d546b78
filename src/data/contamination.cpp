#include "data/contamination.hpp"

#include <algorithm>
#include <utility>

namespace rondo::data {

namespace {

// The words that runs of `length` words cover; `begins` is sorted.
int64_t covered(const std::vector<uint32_t>& begins, int length) {
  int64_t words = 0;
  int64_t end = 0;
  for (const uint32_t begin : begins) {
    const int64_t from = std::max<int64_t>(begin, end);
    end = begin + static_cast<int64_t>(length);
    words += std::max<int64_t>(0, end - from);
  }
  return words;
}

}  // namespace

void ContaminationIndex::add(std::string words) {
  const auto number = instances();
  const int64_t count = count_words(words, Turns::kUser);
  instances_.push_back({std::move(words), count});
  const std::string& own = instances_.back().words;
  if (count >= ngram_) {
    for (const WordRun& run : word_runs(own, Turns::kUser, ngram_, false, hash_)) {
      ngrams_.emplace(run.hash, Place{number, run});
      note(run);
    }
  } else if (const auto turns = user_turns(own, hash_); turns.size() == 1) {
    whole_.emplace(turns[0].hash, Place{number, turns[0]});
    note(turns[0]);
  }
}

std::vector<Hit> ContaminationIndex::hits(const std::string& words) const {
  std::vector<std::pair<int64_t, uint32_t>> matches;  // instance, first word of the n-gram there
  for (const WordRun& run : word_runs(words, Turns::kUser, ngram_, false, hash_)) {
    if (!maybe(run)) continue;
    const auto [begin, end] = ngrams_.equal_range(run.hash);
    for (auto place = begin; place != end; ++place) {
      if (text_of(place->second) != run.of(words)) continue;
      matches.emplace_back(place->second.instance, place->second.run.first_word);
    }
  }
  std::ranges::sort(matches);
  std::vector<Hit> hits;
  for (size_t i = 0; i < matches.size();) {
    const int64_t instance = matches[i].first;
    std::vector<uint32_t> begins;
    for (; i < matches.size() && matches[i].first == instance; ++i) {
      begins.push_back(matches[i].second);
    }
    const auto total = static_cast<double>(instances_[static_cast<size_t>(instance)].count);
    const double share = static_cast<double>(covered(begins, ngram_)) / total;
    if (share > share_) hits.push_back({instance, share});
  }
  for (const WordRun& turn : user_turns(words, hash_)) {
    if (!maybe(turn)) continue;
    const auto [begin, end] = whole_.equal_range(turn.hash);
    for (auto place = begin; place != end; ++place) {
      if (text_of(place->second) == turn.of(words)) hits.push_back({place->second.instance, 1.0});
    }
  }
  std::ranges::sort(hits, {}, &Hit::instance);
  const auto same = [](const Hit& a, const Hit& b) { return a.instance == b.instance; };
  hits.erase(std::unique(hits.begin(), hits.end(), same), hits.end());
  return hits;
}

}  // namespace rondo::data

// Contamination: training examples that hold an evaluation's questions.
//
// The rule of Tulu 3 (Lambert et al., arXiv 2411.15124, section 3.2), on the words of users' turns:
// an evaluation's instance is hit by one training example when more than a share of the instance's
// words lie in n-grams that the example's users say too. Instances of fewer than n words are
// compared whole: all their words must be a whole turn of a training user. Matches are verified on
// the words.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/words.hpp"

namespace rondo::data {

struct Hit {
  int64_t instance = 0;  // as it was added
  double share = 0;      // of the instance's words that are covered
};

class ContaminationIndex {
 public:
  ContaminationIndex(int ngram, double share, HashText hash)
      : ngram_(ngram), share_(share), hash_(hash) {}

  // The words of an instance (docs/formats/tokenized.md); one without words is never hit.
  void add(std::string words);
  int64_t instances() const { return static_cast<int64_t>(instances_.size()); }
  const std::string& words(int64_t instance) const {
    return instances_[static_cast<size_t>(instance)].words;
  }
  // Instances hit by a training example of these words, ascending. Safe from several threads.
  std::vector<Hit> hits(const std::string& words) const;

 private:
  struct Instance {
    std::string words;
    int64_t count = 0;  // words of users
  };
  struct Place {
    int64_t instance;
    WordRun run;
  };
  using Places = std::unordered_multimap<uint64_t, Place>;

  std::string_view text_of(const Place& place) const {
    return place.run.of(instances_[static_cast<size_t>(place.instance)].words);
  }
  void note(const WordRun& run) { filter_[run.hash % kFilterBits] = true; }
  bool maybe(const WordRun& run) const { return filter_[run.hash % kFilterBits]; }

  static constexpr size_t kFilterBits = size_t{1} << 22;
  int ngram_;
  double share_;
  HashText hash_;
  std::vector<Instance> instances_;
  Places ngrams_;
  Places whole_;  // of instances that are too short for an n-gram
  std::vector<bool> filter_ = std::vector<bool>(kFilterBits, false);
};

}  // namespace rondo::data

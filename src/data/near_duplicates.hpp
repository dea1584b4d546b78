// Near-duplicates among many examples: candidates by MinHash bands, verified on their words.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "data/minhash.hpp"

namespace rondo::data {

struct NearSettings {
  double jaccard = 0.7;  // least similarity (minhash.hpp) of near-duplicates
  int shingle_words = 5;
  int bands = 26;  // 26 bands of 8 rows find a pair of similarity 0.7 with 79 %, 0.8 with 99 %
  int band_rows = 8;
  // Members of a band's bucket that each is compared with, the next ones in order. Only buckets of
  // many examples that are alike without being near-duplicates lose by it.
  int64_t most_compared = 64;
  HashText hash = hash_text;
};

struct Edge {
  int64_t first = 0;  // numbers in the list of examples, first < second
  int64_t second = 0;
  double similarity = 0;
};

struct NearDuplicates {
  std::vector<Edge> edges;   // of at least settings.jaccard, ascending by (first, second)
  int64_t candidates = 0;    // different pairs that were compared
  int64_t wide_buckets = 0;  // with more members than most_compared + 1
};

// Words of the turns of example i of the list. Called for any i on any rank.
using ReadWords = std::function<std::string(int64_t)>;
// Whether two examples are never near-duplicates, such as parts of one row.
using Unrelated = std::function<bool(int64_t, int64_t)>;

// Collective over all ranks, which share the work; the same on every rank and for any number of
// them. `count` examples, fewer than 2^32. Holds about 8 * bands bytes for each example of this
// rank's share and 24 for each of all, and no text beyond two examples.
NearDuplicates near_duplicates(int64_t count, const ReadWords& words, const Unrelated& unrelated,
                               const NearSettings& settings, comm::Control& control,
                               comm::Group& group);

}  // namespace rondo::data

// MinHash with bands: examples whose sets of shingles are alike get, likely, an equal band key.
//
// A. Broder, "On the resemblance and containment of documents", 1997: the least value of a random
// hash over a set is the same for two sets with the probability of their Jaccard similarity s. With
// b bands of r rows two sets share a band with probability 1 - (1 - s^r)^b (J. Leskovec,
// A. Rajaraman, J. Ullman, "Mining of massive datasets", section 3.4).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/words.hpp"

namespace rondo::data {

class MinHash {
 public:
  MinHash(int bands, int rows);

  int bands() const { return bands_; }
  // The key of every band, of a set that is not empty. Keys of different bands are different.
  std::vector<uint64_t> band_keys(std::span<const WordRun> shingles) const;

 private:
  int bands_;
  int rows_;
};

// Similarity of two examples: the Jaccard index of their sets of shingles, runs of `shingle_words`
// words of a turn (a shorter turn is one), of users' and assistants' turns. Two rules:
// - several answers to one question, the users' turns being equal, are compared by their answers;
// - answers without a common shingle make the examples different (similarity 0): a question that
//   is changed a little and has another answer is another question.
double similarity(std::string_view a, std::string_view b, int shingle_words, HashText hash);

}  // namespace rondo::data

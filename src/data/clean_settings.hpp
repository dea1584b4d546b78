// How the examples of a packing are cleaned.
#pragma once

#include <string>
#include <vector>

namespace rondo::data {

enum class CleanAction {
  kOff,     // not looked for
  kReport,  // found and reported
  kRemove,  // and left out
};
const char* name_of(CleanAction action);

// Questions that must not be trained on.
struct EvaluationSet {
  std::string name;
  std::vector<std::string> files;  // rondo.evaluation (docs/formats/evaluation.md) or tokenised
};

struct CleanSettings {
  CleanAction exact = CleanAction::kOff;  // same tokens with the same weights
  CleanAction near = CleanAction::kOff;   // near_duplicates.hpp
  // Examples that an earlier round trained on, from another source than this round's (exact or
  // near).
  CleanAction across_rounds = CleanAction::kOff;
  CleanAction contamination = CleanAction::kOff;  // contamination.hpp
  // Of near-duplicates.
  double jaccard = 0.7;
  int shingle_words = 5;
  int bands = 26;
  int band_rows = 8;
  bool keep_longest = true;  // of a group, else the first
  // Of contamination.
  int ngram = 8;
  double share = 0.5;     // of an instance's words: more than this is a hit
  double max_hit = 0.02;  // share of a set's instances that one source may hit
  std::vector<EvaluationSet> evaluation_sets;
  // Largest share of a source's examples that may be removed as duplicates.
  double max_removed = 1;

  bool any() const {
    return exact != CleanAction::kOff || near != CleanAction::kOff ||
           across_rounds != CleanAction::kOff || contamination != CleanAction::kOff;
  }
};

}  // namespace rondo::data

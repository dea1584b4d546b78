// What became of the examples in a packing: figures for people and for plan.json.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/console.hpp"

namespace rondo::data {

struct SourceAccount {
  std::string name;
  int64_t examples = 0;      // of the part that was asked for
  int64_t over_long = 0;     // dropped: more tokens than a pack
  int64_t fully_masked = 0;  // dropped: no trained token
  int64_t cut = 0;           // of those that could be used: longer than a pack, head kept
  // Found by cleaning; left out where that was asked for (clean.hpp).
  int64_t exact_duplicates = 0;
  int64_t near_duplicates = 0;
  int64_t in_earlier_rounds = 0;
  int64_t contaminated = 0;
  int64_t not_kept = 0;        // by their scores (scores.hpp)
  int64_t documents = 0;       // packed, repeats included
  int64_t repeats = 0;         // documents beyond the first of each example
  int64_t tokens = 0;          // of the documents
  int64_t trained_tokens = 0;  // of the documents: predicted with a weight above 0
  double weight = 0;           // sum of the weights of these
  nlohmann::json figures{};    // of the documents: Figures::to_json
};

struct PackReport {
  std::vector<SourceAccount> sources;
  int64_t packs = 0;
  int64_t seq_len = 0;
  std::string plan_hash;
  nlohmann::json order;              // how steps take the packs; null where it is not known
  nlohmann::json mix;                // Drawn::report; null without shares
  std::vector<std::string> remarks;  // for the user
  std::string clean_hash;            // of the report on cleaning; "" without one

  int64_t documents() const;
  int64_t tokens() const;
  int64_t trained_tokens() const;
  double weight() const;
  int64_t padding() const { return packs * seq_len - tokens(); }  // tokens
  // Share of the packs' tokens that are real.
  double fill() const;
  nlohmann::json to_json() const;
  // A table of the sources, then the packs.
  void print(base::Console& console) const;
};

}  // namespace rondo::data

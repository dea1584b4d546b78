// Choice of examples by the scores that files hold for them (docs/formats/scores.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/scores_file.hpp"

namespace rondo::data {

class PackInputs;
struct PackSource;

// Which examples of a source are trained on.
struct Keep {
  std::string score;              // name of the column
  std::string file{};             // "": scores_beside() each tokenised file
  std::optional<double> above{};  // scores beyond these bounds alone
  std::optional<double> below{};
  double top = 1;  // of those, the share with the highest scores; equal ones: the first
};

// The files that hold the scores of a source, in the order of its tokenised files.
std::vector<std::string> score_files(const PackSource& source);

// Of `examples`, all of one source, those that its `keep` lets through, in their order. UserError:
// a file of another format, without this score, or without a number for one of the examples; none
// left.
std::vector<int64_t> keep_by_score(const PackSource& source, const PackInputs& inputs,
                                   const std::vector<int64_t>& examples);

}  // namespace rondo::data

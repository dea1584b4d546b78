// Files of numbers by example (`rondo.scores`, docs/formats/scores.md): what `rondo score` writes
// and sources.NAME.keep chooses by.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "storage/hdf5.hpp"

namespace rondo::data {

inline constexpr const char* kScoresFormat = "rondo.scores";
inline constexpr int64_t kScoresVersion = 1;

struct ScoreColumns {
  std::vector<uint64_t> example_id;                  // [N]
  std::map<std::string, std::vector<float>> values;  // by name: [N]; NaN: no score
  // By name, how a column was made, where that is known: model, its digest, the tokenised files,
  // settings.
  nlohmann::json made = nlohmann::json::object();
};

// Where the scores of a tokenised file's examples lie unless told: x.h5 -> x.scores.h5.
std::string scores_beside(const std::string& tokenised);

// The file, checked to be one of scores; the numbers of a column, one for each example id.
// UserError for another format or version, and where the column is missing or has another size.
storage::Hdf5File open_scores(const std::string& path);
std::vector<float> read_score(const storage::Hdf5File& file, const std::string& name);

// Whole files. UserError as above.
ScoreColumns read_scores(const std::string& path);

// Writes the columns durably beside those that the file has. Those of the same names are replaced
// as a whole; an example that one side does not have has NaN in its columns. Of an id that comes
// twice the last row counts. UserError when a file of another kind is there. Called on one rank.
void merge_scores(const std::string& path, const ScoreColumns& columns);

}  // namespace rondo::data

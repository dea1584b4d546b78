#include "data/scores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.hpp"
#include "data/pack_inputs.hpp"
#include "data/pack_request.hpp"

namespace rondo::data {

namespace {

using Scores = std::unordered_map<uint64_t, float>;

void add_scores(const std::string& path, const std::string& score, Scores& scores) {
  const storage::Hdf5File file = open_scores(path);
  const std::vector<float> value = read_score(file, score);
  const auto id = file.read_all<uint64_t>("example_id");
  scores.reserve(scores.size() + id.size());
  for (size_t i = 0; i < id.size(); ++i) scores.insert_or_assign(id[i], value[i]);
}

float score_of(const Scores& scores, const PackSource& source, const PackInputs& inputs,
               int64_t example) {
  const auto found = scores.find(inputs.example_id(example));
  if (found != scores.end() && !std::isnan(found->second)) return found->second;
  base::fail_user(
      "source {}: {} has no score \"{}\" in {}. Score all of the source, or leave `keep` out.",
      source.name, inputs.describe(example), source.keep->score,
      fmt::join(score_files(source), ", "));
}

}  // namespace

std::vector<std::string> score_files(const PackSource& source) {
  if (!source.keep->file.empty()) return {source.keep->file};
  std::vector<std::string> files;
  for (const std::string& tokenised : source.files) files.push_back(scores_beside(tokenised));
  return files;
}

std::vector<int64_t> keep_by_score(const PackSource& source, const PackInputs& inputs,
                                   const std::vector<int64_t>& examples) {
  const Keep& keep = *source.keep;
  Scores scores;
  for (const std::string& path : score_files(source)) add_scores(path, keep.score, scores);
  struct Scored {
    int64_t example;
    float score;
  };
  std::vector<Scored> kept;
  for (const int64_t example : examples) {
    const float score = score_of(scores, source, inputs, example);
    if (keep.above && !(score > *keep.above)) continue;
    if (keep.below && !(score < *keep.below)) continue;
    kept.push_back({example, score});
  }
  const auto most = static_cast<size_t>(std::llround(keep.top * static_cast<double>(kept.size())));
  std::ranges::stable_sort(kept, std::greater{}, &Scored::score);
  kept.resize(most);
  if (kept.empty()) {
    base::fail_user("source {}: `keep` lets none of its {} examples through.", source.name,
                    examples.size());
  }
  std::vector<int64_t> result;
  result.reserve(kept.size());
  for (const Scored& scored : kept) result.push_back(scored.example);
  std::ranges::sort(result);
  return result;
}

}  // namespace rondo::data

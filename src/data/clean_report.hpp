// What cleaning has found, for people: quoted, counted, and judged.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/clean_settings.hpp"
#include "data/evaluation_words.hpp"
#include "data/pack_inputs.hpp"
#include "data/pack_report.hpp"

namespace rondo::data {

enum class FindingKind { kExact, kNear, kEarlier, kContaminated };

// An example and what it was found to be like.
struct Finding {
  FindingKind kind;
  int64_t example = 0;    // place among the examples that were looked at
  int64_t other = 0;      // the same of the one it repeats; or an instance of the set
  double similarity = 0;  // the largest to any other of its group; or the share that is covered
  size_t set = 0;         // evaluation set, of contamination
};

struct SetAccount {
  std::string name;
  std::vector<EvaluationInstance> instances{};
  std::map<size_t, int64_t> hit{};  // by source: instances that its examples hit
};

struct CleanReport {
  std::vector<Finding> findings;
  std::vector<SetAccount> sets;
  std::vector<int64_t> usable;  // by source: examples that were looked at
  std::vector<int64_t> kept;
  int64_t candidates = 0;    // pairs that were compared for being near-duplicates
  int64_t wide_buckets = 0;  // near_duplicates.hpp
};

// "" or why examples cleaned so must not be trained on, in words that end with what to do.
std::string refusal_of(const CleanReport& report, const CleanSettings& settings,
                       const std::vector<SourceAccount>& accounts);

// The report as it is stored (docs/formats/packed.md): every finding, the first kQuoted of each
// kind with the words of both sides. `examples`: numbers in `inputs` by place.
inline constexpr int64_t kQuoted = 1000;
nlohmann::json describe(const CleanReport& report, const CleanSettings& settings,
                        const std::vector<SourceAccount>& accounts, const PackInputs& inputs,
                        const std::vector<int64_t>& examples);

}  // namespace rondo::data

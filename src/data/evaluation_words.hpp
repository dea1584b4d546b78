// Reader of the words of evaluation sets (`rondo.evaluation`, docs/formats/evaluation.md), which
// tools/prepare writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo::data {

inline constexpr const char* kEvaluationFormat = "rondo.evaluation";
inline constexpr int64_t kEvaluationVersion = 1;

struct EvaluationInstance {
  std::string words;   // docs/formats/tokenized.md, "Words"
  std::string origin;  // "file:row"
};

// All instances of a file of this format, or of a tokenised one. UserError with file, place, found
// and expected when it is neither, or damaged.
std::vector<EvaluationInstance> read_instances(const std::string& path);

// What identifies the content of such a file: its attributes, as JSON text. Reads these alone.
std::string identity_of_instances(const std::string& path);

// Its attribute source_files (docs/formats/tokenized.md).
std::string source_files_of_instances(const std::string& path);

}  // namespace rondo::data

// Completions as token ids: files of format `rondo.generated` (docs/formats/generated.md), written
// by `rondo generate` and read by tools/decode and tools/score.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rondo::data {

inline constexpr const char* kGeneratedFormat = "rondo.generated";
inline constexpr int64_t kGeneratedVersion = 1;

struct Generated {
  std::vector<int32_t> tokens;         // completions end to end, without the ids that ended them
  std::vector<int64_t> offsets = {0};  // [N + 1]: completion i is [offsets[i], offsets[i + 1])
  std::vector<uint64_t> example_id;    // [N]: as in the prompts' file
  std::vector<uint8_t> finished;       // [N]: 1: ended by a stop id, 0: by a limit
  std::string model;                   // path of the model
  std::string prompts;                 // path of the prompts' file
  std::string settings;                // JSON text

  int64_t count() const { return static_cast<int64_t>(example_id.size()); }
  void append(std::span<const int32_t> completion, uint64_t id, bool ended_by_stop_id);
};

// Replaces `path` durably: under its name is either what was there before or the whole new file.
// Called on one rank.
void write_generated(const std::string& path, const Generated& generated);
// UserError naming file, place, found and expected when the file is not a whole one of this format.
Generated read_generated(const std::string& path);

}  // namespace rondo::data

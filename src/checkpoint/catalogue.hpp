// The folder that holds checkpoints: who is in it, who is known to be bad, how one is removed.
// Reads and moves names only; called on one rank.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/manifest.hpp"

namespace rondo::checkpoint {

inline constexpr std::string_view kLatestFile = "LATEST";
inline constexpr std::string_view kBadFile = "BAD";
inline constexpr std::string_view kTrashPrefix = ".trash-";
inline constexpr std::string_view kReplacedPrefix = ".replaced-";

// A published folder. Either `manifest` is there or `damage` says why not.
struct Candidate {
  std::string name;
  std::string text;  // of the manifest
  std::optional<Manifest> manifest;
  std::string damage;
  bool known_bad = false;  // damage was read from BAD
};

// All published folders in `folder` that hold files of a checkpoint: those without a readable
// manifest first, then by step from the newest, at equal steps by name from the last. Empty when
// the folder does not exist.
std::vector<Candidate> find_candidates(const std::string& folder);

// Adds a line to BAD, so that this save of `name` is not tried again. `id` is the manifest's, empty
// when it could not be read.
void record_bad(const std::string& folder, const std::string& name, const std::string& id,
                const std::string& reason);

// UserError unless `name` may be a checkpoint's.
void check_name(const std::string& name);

}  // namespace rondo::checkpoint

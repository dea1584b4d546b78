// The run folder: made, locked and probed on rank 0; its small files.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/console.hpp"
#include "storage/run_lock.hpp"
#include "train/config.hpp"
#include "train/divergence.hpp"

namespace rondo::train {

// Held on rank 0 for the whole run; a folder made by this process is removed again when the run
// fails before keep(), so that wrong input leaves nothing behind. Only the holder of the lock
// removes anything.
class RunFolder {
 public:
  // Makes and locks the folder. UserError when it cannot be written, or a running job holds it.
  RunFolder(const Config& config, base::Console& console);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // From now on the folder stays. Writes config.yaml.
  void keep(const Config& config);
  // UserError when another start has taken the folder over; whoever writes in it calls this before.
  void check_owner() const { lock_->check(); }
  // The same as of some seconds ago, at no cost.
  bool lost() const { return lock_->lost(); }
  // A line of events.jsonl; the time (UTC) is added.
  void event(nlohmann::json json) const;
  // Lines of skipped.jsonl (SkippedSteps); "": there are none.
  std::string skipped_lines() const;
  void skip_steps(const SkippedSteps::Entry& entry) const;
  // All lines of ledger.jsonl; "": there are none.
  std::string ledger_lines() const;
  // Adds the line of a round to ledger.jsonl unless its last line has the same weights, attempt and
  // outcome.
  void ledger(const nlohmann::json& line) const;
  // The last line of a round in ledger.jsonl, if there is one.
  std::optional<nlohmann::json> ledger_line(const std::string& round) const;
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string folder_;
  bool made_here_ = false;
  bool kept_ = false;
  std::optional<storage::RunLock> lock_;
};

std::string utc_now();
// Digest of the tensors of a checkpoint, as its manifest says.
std::string stored_digest(const std::string& checkpoint);

}  // namespace rondo::train

// When a run saves, what it keeps, and what it finds again.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/console.hpp"
#include "checkpoint/checkpoint.hpp"
#include "comm/control.hpp"
#include "model/model.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

// Collective over all ranks. The newest whole checkpoint of a run, or nothing; honours
// checkpoint.resume.
std::optional<checkpoint::Checkpoint> find_newest(const Config& config, comm::Control& control,
                                                  base::Console& console);

class Saver {
 public:
  Saver(const Config& config, model::Model& model, comm::Control& control, base::Console& console);

  // Whether the step just done is one to save after; `steps_per_epoch` of the round. The clock is
  // this rank's: ask on rank 0 and agree.
  bool due(const RunState& state, int64_t steps_per_epoch) const;

  // Each is collective over all ranks.
  // Saves in the middle of a round, then deletes old ones. Returns the digest of the tensors.
  std::string save_step(const RunState& state);
  // Saves at the end of a round, under a name that is kept.
  std::string save_round(const RunState& state);
  // Reduces the end of an earlier round to weights.
  void drop_optimizer(int64_t round);

  std::string round_name(int64_t round) const;

 private:
  std::string save(const RunState& state, const std::string& name);
  std::set<std::string> round_names() const;

  const Config& config_;
  model::Model& model_;
  comm::Control& control_;
  base::Console& console_;
  std::string folder_;
  std::chrono::steady_clock::time_point last_save_;
};

}  // namespace rondo::train

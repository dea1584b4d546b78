// When a run saves, what it keeps, and what it finds again.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/console.hpp"
#include "base/fault.hpp"
#include "base/watchdog.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/writer.hpp"
#include "comm/control.hpp"
#include "model/model.hpp"
#include "train/divergence.hpp"
#include "train/model_source.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

// What checkpoint.resume says is asked once, at the start of a run.
enum class Resume { kAsConfigured, kAuto };

// Collective over all ranks. The newest whole checkpoint of a run whose state is allowed, or
// nothing.
std::optional<checkpoint::Checkpoint> find_newest(
    const Config& config, comm::Control& control, base::Console& console,
    const std::function<bool(const nlohmann::json& state)>& allowed = {},
    Resume resume = Resume::kAsConfigured);

// Called on rank 0. Removes the checkpoints of a run that `skips` do not allow.
void remove_refused(const Config& config, const SkippedSteps& skips);

// The number of the file that a rank writes to (checkpoint.writers_per_node), given the hosts of
// all ranks: ranks of one number share one.
int writer_group(const std::vector<std::string>& hosts, int rank, int64_t writers_per_node);

class Saver {
 public:
  struct Settings {
    int writer_group = -1;
    bool background = false;
    // On rank 0: throws when this run may not write to its folder any more.
    std::function<void()> check_owner = [] {};
    base::Faults* faults = nullptr;
    base::Watchdog* watchdog = nullptr;
    std::function<void(const nlohmann::json& event)> event = [](const nlohmann::json&) {};
  };

  // Collective over all ranks. With `background` the memory of a snapshot is taken here.
  Saver(const Config& config, model::Model& model, comm::Control& control, base::Console& console,
        Settings settings);
  Saver(const Config& config, model::Model& model, comm::Control& control, base::Console& console)
      : Saver(config, model, control, console, Settings()) {}
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  // Bytes of a snapshot of this rank; where the model lies on a device, of its copy on the host.
  static int64_t snapshot_bytes(const model::Model& model);

  // Whether the step just done is one to save after; `steps_per_epoch` of the round. The clock is
  // this rank's: ask on rank 0 and agree.
  bool due(const RunState& state, int64_t steps_per_epoch) const;

  // Each is collective over all ranks.
  // Saves in the middle of a round, in the background where that is set: what is under way is
  // finished first. A save that fails is a warning, up to checkpoint.most_failures in a row.
  void begin_step(const RunState& state);
  // Whether a save is under way; the same on all ranks. written(): and this rank's part of it done.
  bool in_flight() const { return writer_.in_flight(); }
  bool written() const { return writer_.written(); }
  // Publishes what is under way, then deletes old ones.
  void finish();
  // Saves and publishes before it returns; fails when it cannot.
  void save_step(const RunState& state);
  // The same at the end of a round, under a name that is kept.
  void save_round(const RunState& state);
  // Reduces the end of an earlier round to weights.
  void drop_optimizer(int64_t round);

  std::string round_name(int64_t round) const;
  // Of the last save, from its begin to its end; of that, what the training has waited.
  double save_seconds() const { return save_seconds_; }

 private:
  using Clock = std::chrono::steady_clock;
  // Collective. `must`: a failure is not forgiven.
  void begin(const RunState& state, const std::string& name, bool must);
  void finish(bool must);
  // Forgives what is thrown while it may, else throws it again.
  void failed(const std::string& text, bool must);
  void reach(std::string_view point, int64_t step, const std::string& path) const;
  void watch(int64_t step) const;
  void remove_old();
  std::set<std::string> round_names() const;

  const Config& config_;
  model::Model& model_;
  comm::Control& control_;
  base::Console& console_;
  const Settings settings_;
  const std::string folder_;
  // Of what is saved: on a device for good, elsewhere while a save is under way.
  std::optional<ModelOnHost> host_;
  checkpoint::Writer writer_;
  std::string saving_;  // name of what is under way
  int64_t saving_step_ = 0;
  int64_t failures_ = 0;  // in a row
  double waited_s_ = 0;   // of what is under way
  double save_seconds_ = 0;
  Clock::time_point last_begin_;
  std::thread sweeper_;  // deletes what has been put aside
};

}  // namespace rondo::train

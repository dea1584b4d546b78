// The steps of a round, one after another: loaded, computed, looked at for divergence, evaluated,
// logged, saved, until its last one or until something ends them before.
#pragma once

#include <cstdint>
#include <string>

#include "data/loader.hpp"
#include "train/round_lengths.hpp"
#include "train/run_parts.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

enum class RoundEnd {
  kTrained,       // its last step is done and saved
  kStopped,       // on request, and saved
  kStepsReached,  // run.max_steps, and saved
  kGoBack,        // to the checkpoint before the entry that was added to skipped.jsonl
};

class RoundTraining {
 public:
  // Collective over all ranks, as is run(). `parts` must outlive this.
  RoundTraining(const RunParts& parts, size_t round);

  // From where `state` stands, which is taken along.
  RoundEnd run(RunState& state);

 private:
  struct Step {
    StepResult result;
    double lr = 0;
    double seconds = 0;
    double loader_wait_s = 0;
    comm::Traffic communication;
  };
  Step compute(const RunState& state);
  // What is done about a step that was not applied.
  Reaction on_trouble(RunState& state, const StepResult& result);
  // The held-out losses of a step whose evaluation a stop had cut short before. False: again.
  bool finish_pending(RunState& state);
  void log(const std::string& line);
  RoundEnd stopped(const RunState& state);

  const RunParts& parts_;
  const size_t index_;
  const RoundSection& round_;
  const int64_t total_;            // steps of the round
  const int64_t steps_per_epoch_;  // of its data
  const ScheduleSection& schedule_;
  const int64_t schedule_steps_;
  const int64_t first_data_step_;  // where an earlier round has left the plan that this one shares
  data::Loader loader_;
};

}  // namespace rondo::train

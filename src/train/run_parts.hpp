// What a run is made of, for those who carry it on: each is owned by Run.
#pragma once

#include <optional>
#include <string>

#include "base/console.hpp"
#include "base/fault.hpp"
#include "base/watchdog.hpp"
#include "comm/control.hpp"
#include "model/model.hpp"
#include "parallel/mesh.hpp"
#include "train/config.hpp"
#include "train/divergence.hpp"
#include "train/evaluation.hpp"
#include "train/metrics_log.hpp"
#include "train/run_data.hpp"
#include "train/run_folder.hpp"
#include "train/run_sets.hpp"
#include "train/saver.hpp"
#include "train/step.hpp"
#include "train/stop.hpp"

namespace rondo::train {

struct RunParts {
  const Config& config;
  comm::Control& control;
  base::Console& console;
  base::Faults& faults;
  base::Watchdog& watchdog;
  StopRequests& stop;
  RunFolder* folder;    // on rank 0, else null
  MetricsLog* metrics;  // the same
  parallel::Mesh& mesh;
  model::Model& model;
  Stepper& stepper;
  const RunData& data;
  const RunSets& sets;
  Saver& saver;
  const SkippedSteps& skips;
  double calibration;          // FLOP/s over all ranks
  const std::string& version;  // of the program

  // Collective. Whether any rank wants to stop.
  bool stop_wanted() const { return control.any_true(!stop.reason().empty()); }
  // Collective. Losses of the model as it is over all held-out sets, or that of `only`. Nothing
  // when a stop has cut it short.
  std::optional<EvaluationRow> evaluate(int64_t max_examples, int64_t step,
                                        const std::string& only = "") const {
    const auto evaluator = sets.evaluator(max_examples, config, mesh.data(), control, only);
    return evaluator.evaluate(stepper, [this, step] {
      watchdog.enter("evaluation", step);
      return !stop.reason().empty();
    });
  }
  // On rank 0: a line of events.jsonl.
  void event(const nlohmann::json& json) const {
    if (folder != nullptr) folder->event(json);
  }
};

}  // namespace rondo::train

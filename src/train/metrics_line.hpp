// One step as a line of metrics.jsonl.
#pragma once

#include <cstdint>
#include <string>

#include "train/evaluation.hpp"
#include "train/step.hpp"

namespace rondo::train {

struct StepRecord {
  const std::string& round;
  int64_t step;        // over all rounds, counted from 1
  int64_t round_step;  // within the round, counted from 1
  const StepResult& result;
  double lr;
  double seconds;                      // wall time of the step, loading included
  double loader_wait_seconds;          // of that, waiting for data
  const comm::Traffic& communication;  // of rank 0 in the step
  double fraction_of_calibration;
};

// Losses, norms and rates carry 17 significant digits.
std::string metrics_line(const StepRecord& record);
// The same line with held-out losses of after the step.
std::string with_evaluation(const std::string& line, const EvaluationRow& row);

}  // namespace rondo::train

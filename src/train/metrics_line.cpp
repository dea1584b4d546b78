#include "train/metrics_line.hpp"

#include <fmt/format.h>

#include "train/metrics_log.hpp"

namespace rondo::train {

std::string metrics_line(const StepRecord& record) {
  const Totals& totals = record.result.totals;
  const double accuracy =
      totals.trainable_tokens > 0 ? totals.correct / totals.trainable_tokens : 0;
  const double flops_per_token = totals.real_tokens > 0 ? totals.flops / totals.real_tokens : 0;
  return fmt::format(
      R"({{"round": "{}", "step": {}, "round_step": {}, "loss": {}, "grad_norm": {}, "lr": {}, )"
      R"("tokens": {}, "trainable_tokens": {}, "accuracy": {:.6f}, "seconds": {:.6f}, )"
      R"("loader_wait_seconds": {:.6f}, "communication_wait_seconds": {:.6f}, )"
      R"("communication_hidden_seconds": {:.6f}, "tokens_per_s": {:.3f}, "flops_per_token": {:.1f}, )"
      R"("fraction_of_calibration": {:.6f}, "updated": {}}})",
      record.round, record.step, record.round_step, exact_number(totals.loss()),
      exact_number(record.result.grad_norm), exact_number(record.lr),
      static_cast<int64_t>(totals.real_tokens), static_cast<int64_t>(totals.trainable_tokens),
      accuracy, record.seconds, record.loader_wait_seconds, record.communication.exposed_s(),
      record.communication.hidden_s(), totals.real_tokens / record.seconds, flops_per_token,
      record.fraction_of_calibration, record.result.updated);
}

std::string with_evaluation(const std::string& line, const EvaluationRow& row) {
  return fmt::format("{}, \"evaluate\": {}}}", line.substr(0, line.size() - 1),
                     to_json(row).dump());
}

}  // namespace rondo::train

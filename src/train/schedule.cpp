#include "train/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.hpp"

namespace rondo::train {

namespace {

// A share of the steps, rounded up; 0.07 of 100 is 7, although the product in binary is above it.
int64_t share_of(double share, int64_t total) {
  return static_cast<int64_t>(std::ceil(share * static_cast<double>(total) - 1e-9));
}

}  // namespace

int64_t warmup_steps(const ScheduleSection& schedule, int64_t total) {
  if (schedule.warmup < 1) return share_of(schedule.warmup, total);
  return std::min(total, static_cast<int64_t>(std::ceil(schedule.warmup)));
}

double schedule_factor(const ScheduleSection& schedule, int64_t step, int64_t total) {
  RONDO_CHECK(step >= 0 && total >= 1);
  step = std::min(step, total - 1);
  const int64_t warmup = warmup_steps(schedule, total);
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (schedule.kind == "constant") return 1;
  // Where the fall begins (value 1) and how far along it this step is; the last step is at 1.
  int64_t begin = warmup;
  if (schedule.kind == "wsd") {
    begin = std::max(warmup, total - share_of(schedule.decay, total));
    if (step < begin) return 1;
  }
  const int64_t steps = total - begin;
  const double progress = static_cast<double>(step - begin + 1) / static_cast<double>(steps);
  const double shape =
      schedule.kind == "cosine" ? 0.5 * (1 + std::cos(std::numbers::pi * progress)) : 1 - progress;
  return schedule.final + (1 - schedule.final) * shape;
}

}  // namespace rondo::train

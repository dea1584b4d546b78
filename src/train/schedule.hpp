// The learning rate over the steps of a schedule, as a share of the peak.
#pragma once

#include <cstdint>

#include "train/config.hpp"

namespace rondo::train {

// Warm-up steps of a schedule of `total` steps: `warmup` below 1 is a share, rounded up.
int64_t warmup_steps(const ScheduleSection& schedule, int64_t total);

// Share of the peak learning rate at step `step` of 0..total-1. The warm-up rises linearly and
// reaches 1 at its last step; what follows comes to `final` at the last step (linear, cosine), or
// falls to it over the last `decay` of all steps (wsd). A step beyond the end has the last value.
double schedule_factor(const ScheduleSection& schedule, int64_t step, int64_t total);

}  // namespace rondo::train

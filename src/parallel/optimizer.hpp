// AdamW on the shards of units, and the global norm of their gradients (ZeRO stage 1: every rank
// updates the part of the weights that it owns, then all gather the whole).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/group.hpp"
#include "parallel/unit.hpp"

namespace rondo::parallel {

struct AdamWSettings {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  // of parameters with `decay`
};

// Sum of squares, in float64, of the reduced gradients that this rank owns of one unit.
double owned_squared_norm(Unit& unit);

// One update of the owned weights from the owned, reduced gradients * grad_scale. `step` counts
// updates from 1 for the bias correction. Not collective; gather_weights() follows.
void update_owned(Unit& unit, const AdamWSettings& settings, int64_t step, double grad_scale);

}  // namespace rondo::parallel

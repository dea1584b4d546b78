#include "parallel/optimizer.hpp"

#include <ATen/ATen.h>

#include "kernels/kernels.hpp"

namespace rondo::parallel {

double owned_squared_norm(Unit& unit) {
  double sum = 0;
  for (size_t b = 0; b < unit.buckets().size(); ++b) {
    const base::Slice owned = unit.owned_range(b);
    sum += kernels::squared_norm(unit.flat_grads().narrow(0, owned.begin, owned.size()));
  }
  return sum;
}

void update_owned(Unit& unit, const AdamWSettings& settings, int64_t step, double grad_scale) {
  for (const OwnedSegment& segment : unit.segments()) {
    const Parameter& parameter = unit.parameters()[segment.parameter];
    const base::Slice flat = unit.flat_range(segment.parameter, segment.global);
    at::Tensor weights = unit.flat_weights().narrow(0, flat.begin, flat.size());
    at::Tensor exp_avg = unit.exp_avg().narrow(0, segment.shard_offset, flat.size());
    at::Tensor exp_avg_sq = unit.exp_avg_sq().narrow(0, segment.shard_offset, flat.size());
    kernels::adamw({.lr = settings.lr,
                    .beta1 = settings.beta1,
                    .beta2 = settings.beta2,
                    .eps = settings.eps,
                    .weight_decay = parameter.decay ? settings.weight_decay : 0,
                    .step = step,
                    .grad_scale = grad_scale},
                   unit.flat_grads().narrow(0, flat.begin, flat.size()), weights, exp_avg,
                   exp_avg_sq);
  }
}

}  // namespace rondo::parallel

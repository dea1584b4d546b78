// What one rank sends and receives in a step, by axis of the mesh and purpose: the calls and bytes
// that comm::Group counts (of a call: the larger of its two tensors on this rank).
//
// With N elements of all units on a rank, B buckets, M micro-batches, L blocks, T tensor ranks,
// rows of d floats, R = 4 t d bytes of a micro-batch's t rows (rounded up to a multiple of T):
//   shard, gradients     where S > 1: 4 N, B calls; with ZeRO-2 and 3 (not in reproducible mode) M
//                        times
//   shard, weights       4 N, B calls after each update; with ZeRO-3 instead, for each micro-batch,
//                        the forward gathers every unit, the backward every block but the last one
//                        (a tied embedding is gathered again for the head)
//   replicate, gradients where there are replicas: 4 N / S, B calls, twice (a piece to every rank,
//                        and its sum back)
//   tensor, activations  R for: the embedding's sum and the gather of its gradient, the gather for
//                        the head and the sum of its gradient; in each block's forward two gathers
//                        and two sums; in its backward four gathers (gradients, and the norms'
//                        outputs again) and two sums; recomputing attention one gather, a whole
//                        block two gathers and a sum more. And 4 + 24 bytes, in two calls, for each
//                        (chunk of 512) rows that carry weight.
//   tensor, gradients    4 bytes for each element, owned by the rank, of a parameter that several
//                        tensor ranks hold
// Computing in bfloat16 halves weights and activations. A bfloat16 exchange halves the gradients
// over shard, and what goes to every rank over replicate. A ring sends and receives (size - 1) /
// size of these bytes for a gather or a scattered sum, and twice that for a sum on all ranks
// (Thakur et al. 2005).
#pragma once

#include <cstdint>

#include "plan/dimensions.hpp"

namespace rondo::plan {

struct Volume {
  int64_t calls = 0;
  int64_t bytes = 0;
  bool operator==(const Volume&) const = default;
};

struct StepTraffic {
  Volume shard_gradients;
  Volume shard_weights;
  Volume replicate_gradients;
  Volume tensor_activations;
  int64_t tensor_gradient_bytes = 0;  // over all ranks of the shard axis
};

// Of one step of a rank, between the end of one update and the end of the next. `weighted_rows`: of
// each micro-batch, the rows that carry weight; without any, a micro-batch computes nothing.
StepTraffic step_traffic(const Dimensions& model, const Layout& layout, int64_t rows,
                         const std::vector<int64_t>& weighted_rows);

}  // namespace rondo::plan

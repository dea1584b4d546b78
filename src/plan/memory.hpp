// Bytes that one rank needs to train, by kind, from the dimensions alone.
//
// Let N be the elements of all units on a rank (over the tensor axis), padding included, S the
// shard size. Between steps a rank holds (Rajbhandari et al. 2020, "ZeRO", in elements):
//   weights   N, with ZeRO-3 N / S        gradients N, with ZeRO-2 and 3 N / S
//   moments   2 N / S                     master weights in bfloat16 N / S
// of float32, but whole weights and activations, which are of the type computed with, and moments,
// which may be bfloat16.
// Within a step come what is whole for a moment (ZeRO-2: gradients of two blocks and of embedding
// and head, ZeRO-3: their weights too), what reproducible mode keeps (lane sums),
// buffers of collectives, activations of one micro-batch, and a chunk of logits.
#pragma once

#include <cstdint>

#include "plan/dimensions.hpp"

namespace rondo::plan {

struct Memory {
  int64_t weights = 0;
  int64_t gradients = 0;
  int64_t moments = 0;
  // Of a step.
  int64_t gathered = 0;       // whole weights and gradients that are transient, sums of lanes
  int64_t communication = 0;  // received parts of gradients
  int64_t activations = 0;
  int64_t logits = 0;

  int64_t persistent() const { return weights + gradients + moments; }
  int64_t peak() const { return persistent() + gathered + communication + activations + logits; }
};

// The workspace of forward and backward for so many rows: every buffer is aligned to 512 bytes.
int64_t activation_bytes(const Dimensions& model, const Layout& layout, int64_t rows);

// What a rank copies for a save in the background: its even part of weights and moments. A little
// less or more in fact, since units are divided one by one.
int64_t snapshot_bytes(const Dimensions& model, int64_t ranks);

Memory memory_per_rank(const Dimensions& model, const Layout& layout, const Batch& batch);

}  // namespace rondo::plan

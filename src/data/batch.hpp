// PackedBatch: what a model sees of the data. Made on the host, once per micro-batch.
//
// Positions are rows of the flattened batch: row = pack * seq_len + place in the pack. Labels are
// shifted: the label of a row is the next token of the same document. Only rows whose label
// carries weight are listed, so that logits are made for these alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/packed_layout.hpp"

namespace rondo::data {

// What weighs alike in a loss.
enum class Average {
  kTokens,    // tokens, by their weights in the file
  kExamples,  // examples: the weights of a document are scaled to sum to 1
};

struct PackedBatch {
  int64_t packs = 0;
  int64_t seq_len = 0;
  at::Tensor tokens;    // int32 [packs * seq_len]; padding is 0
  at::Tensor rows;      // int64 [n], ascending: rows whose label has a weight above 0
  at::Tensor labels;    // int64 [n]: token to be predicted at each of these rows
  at::Tensor weights;   // float32 [n], above 0
  at::Tensor sources;   // int64 [n]: index into PackedSet::sources()
  at::Tensor examples;  // int64 [n]: index into layout.documents and example_ids
  kernels::PackedLayout layout;
  std::vector<uint64_t> example_ids;  // by document of the layout
  double weight = 0;                  // sum of weights, in float64
  int64_t real_tokens = 0;            // rows that are not padding
  int64_t trainable_tokens = 0;       // n

  // Packs without a document: padding only, zero weight.
  static PackedBatch empty(int64_t packs, int64_t seq_len);
};

}  // namespace rondo::data

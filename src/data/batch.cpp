#include "data/batch.hpp"

#include <ATen/ATen.h>

namespace rondo::data {

PackedBatch PackedBatch::empty(int64_t packs, int64_t seq_len) {
  PackedBatch batch;
  batch.packs = packs;
  batch.seq_len = seq_len;
  batch.tokens = at::zeros({packs * seq_len}, at::kInt);
  batch.rows = at::empty({0}, at::kLong);
  batch.labels = at::empty({0}, at::kLong);
  batch.weights = at::empty({0}, at::kFloat);
  batch.sources = at::empty({0}, at::kLong);
  batch.examples = at::empty({0}, at::kLong);
  batch.layout = kernels::PackedLayout::make(packs * seq_len, {});
  return batch;
}

}  // namespace rondo::data

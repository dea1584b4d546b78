// A small model and a packed micro-batch for the tests of model/.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "kernels/packed_layout.hpp"
#include "model/model.hpp"

namespace rondo::model {

inline Shape small_shape() {
  Shape shape;
  shape.hidden = 32;
  shape.layers = 2;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.ffn = 48;
  shape.vocab = 61;
  shape.max_seq = 64;
  shape.validate("test");
  return shape;
}

// Owns what an Input refers to.
struct Batch {
  at::Tensor tokens, rows, labels, weights;
  kernels::PackedLayout layout;
  Input input() const { return {tokens, rows, labels, weights, layout}; }
};

// Rows cut into the given documents; every document's rows but the last predict the next token.
inline Batch make_batch(int64_t rows, std::vector<base::Slice> documents, int64_t vocab,
                        int64_t seed) {
  Batch batch;
  batch.tokens = at::empty({rows}, at::kInt);
  auto* tokens = batch.tokens.mutable_data_ptr<int32_t>();
  for (int64_t i = 0; i < rows; ++i) {
    tokens[i] = static_cast<int32_t>((i * i * 7 + i * 3 + seed * 11) % vocab);
  }
  std::vector<int64_t> trained, labels;
  std::vector<float> weights;
  for (const base::Slice& document : documents) {
    for (int64_t row = document.begin; row + 1 < document.end; ++row) {
      trained.push_back(row);
      labels.push_back(tokens[row + 1]);
      weights.push_back(row % 3 == 0 ? 0.5f : 1.0f);
    }
  }
  batch.rows = at::tensor(trained, at::kLong);
  batch.labels = at::tensor(labels, at::kLong);
  batch.weights = at::tensor(weights);
  batch.layout = kernels::PackedLayout::make(rows, std::move(documents));
  return batch;
}

}  // namespace rondo::model

// A tiny model and a global batch with every irregularity, for the tests of the training step.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/random.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "comm/local_world.hpp"
#include "data/batch.hpp"
#include "model/model.hpp"
#include "train/step.hpp"

namespace rondo::train {

inline constexpr int64_t kSeqLen = 16;

// Odd sizes, so that no parameter count divides over 2, 3 or 4 ranks.
inline model::Shape tiny_shape() {
  model::Shape shape;
  shape.hidden = 24;
  shape.layers = 2;
  shape.heads = 3;
  shape.kv_heads = 1;
  shape.ffn = 37;
  shape.vocab = 53;
  shape.max_seq = kSeqLen;
  shape.validate("test");
  return shape;
}

struct Document {
  std::vector<int32_t> tokens;
  std::vector<float> weights;  // weights[i] of predicting tokens[i + 1]; the last one is 0
};
using Pack = std::vector<Document>;  // at most kSeqLen tokens together

inline Document make_document(uint64_t seed, int64_t length, bool trained) {
  const base::Random random(seed, "a document");
  Document document;
  for (int64_t i = 0; i < length; ++i) {
    const auto at = static_cast<uint64_t>(2 * i);
    document.tokens.push_back(static_cast<int32_t>(random.below(53, at)));
    const bool weighs = trained && i + 1 < length && random.below(3, at + 1) > 0;
    document.weights.push_back(weighs ? (i % 2 == 0 ? 0.25F : 1.0F) : 0.0F);
  }
  return document;
}

// Twelve packs (they divide over 1, 2, 3 and 4 ranks). The first three train nothing, so that a
// rank of four, and a micro-batch of any, has no trainable token; the last one holds no document.
inline std::vector<Pack> ragged_packs(uint64_t seed) {
  std::vector<Pack> packs;
  for (uint64_t p = 0; p < 11; ++p) {
    const base::Random random(seed, "lengths");
    const auto first = static_cast<int64_t>(2 + random.below(8, p));
    const auto second = static_cast<int64_t>(1 + random.below(6, p + 100));
    const bool trained = p >= 3;
    packs.push_back({make_document(seed * 100 + 2 * p, first, trained),
                     make_document(seed * 100 + 2 * p + 1, second, trained)});
  }
  packs.emplace_back();
  return packs;
}

// Packs [begin, end) side by side.
inline data::PackedBatch batch_of(const std::vector<Pack>& packs, size_t begin, size_t end) {
  data::PackedBatch batch = data::PackedBatch::empty(static_cast<int64_t>(end - begin), kSeqLen);
  std::vector<int64_t> rows;
  std::vector<int64_t> labels;
  std::vector<float> weights;
  std::vector<base::Slice> documents;
  batch.tokens = at::zeros({batch.packs * kSeqLen}, at::kInt);
  auto* tokens = batch.tokens.mutable_data_ptr<int32_t>();
  for (size_t p = begin; p < end; ++p) {
    auto row = static_cast<int64_t>(p - begin) * kSeqLen;
    for (const Document& document : packs[p]) {
      documents.push_back({row, row + std::ssize(document.tokens)});
      for (size_t i = 0; i < document.tokens.size(); ++i, ++row) {
        tokens[row] = document.tokens[i];
        if (document.weights[i] == 0) continue;
        rows.push_back(row);
        labels.push_back(document.tokens[i + 1]);
        weights.push_back(document.weights[i]);
        batch.weight += static_cast<double>(document.weights[i]);
      }
      batch.real_tokens += std::ssize(document.tokens);
    }
  }
  batch.trainable_tokens = std::ssize(rows);
  batch.rows = at::tensor(rows, at::kLong);
  batch.labels = at::tensor(labels, at::kLong);
  batch.weights = at::tensor(weights, at::kFloat);
  batch.layout = kernels::PackedLayout::make(batch.packs * kSeqLen, std::move(documents));
  return batch;
}

// The micro-batches of one rank: neighbouring packs, `micro_packs` each (the last one may hold
// fewer).
inline std::vector<data::PackedBatch> share_of(const std::vector<Pack>& packs,
                                               const comm::Group& group, size_t micro_packs) {
  const size_t each = packs.size() / static_cast<size_t>(group.size());
  const size_t begin = static_cast<size_t>(group.rank()) * each;
  std::vector<data::PackedBatch> batches;
  for (size_t p = begin; p < begin + each; p += micro_packs) {
    batches.push_back(batch_of(packs, p, std::min(p + micro_packs, begin + each)));
  }
  return batches;
}

inline StepSettings settings_of(int64_t adam_step) {
  StepSettings settings;
  // An eps far above rounding: Adam would turn the noise of a gradient near 0 into a whole step.
  settings.adamw = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-5, .weight_decay = 0.1};
  settings.adam_step = adam_step;
  settings.clip = 0.5;
  return settings;
}

inline std::unique_ptr<model::Model> new_model(comm::Group& group, uint64_t seed) {
  auto model = std::make_unique<model::Model>(tiny_shape(), group, true);
  model->initialise(seed);
  return model;
}

// Copies of all parameters, in the order of the units.
// Collective over the model's mesh.
inline std::vector<at::Tensor> weights_of(model::Model& model) {
  std::vector<at::Tensor> all;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    for (size_t i = 0; i < model.unit(u).parameters().size(); ++i) {
      all.push_back(model.unit(u).whole(i).clone());
    }
  }
  return all;
}

// Equal to the bit (NaN equals NaN of the same bits).
inline bool same_bits(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!at::equal(a[i].view(at::kInt), b[i].view(at::kInt))) return false;
  }
  return true;
}

inline void on_ranks(int size, const std::function<void(comm::Group&, comm::Control&)>& body) {
  comm::LocalWorld::run(size, [&](comm::Group& group, comm::Control& control) {
    const c10::InferenceMode guard;
    body(group, control);
  });
}

// One rank's groups.
struct Alone {
  const c10::InferenceMode guard;
  std::unique_ptr<comm::Group> group = comm::make_self_group();
  comm::Control control{comm::make_self_group()};
};

}  // namespace rondo::train

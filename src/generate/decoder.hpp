// Runs a model token by token: whole prompts into the slots of a key/value cache, then one token
// for every sequence at a time.
//
// The last bits of a matrix product may change with its number of rows. So that a sequence never
// depends on its neighbours, a prompt is run by itself, and a decoding step always has the same
// number of rows, whatever the number of slots below kRowMultiple and of sequences in them.
// Callers hold a c10::InferenceMode guard. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "generate/cache.hpp"
#include "model/model.hpp"

namespace rondo::generate {

class Decoder {
 public:
  static constexpr int64_t kRowMultiple = 16;  // rows of a step: the slots rounded up to it

  // Sequences have at most max_length tokens, and the model that many positions (else UserError).
  // The model must outlive this and keep its weights.
  Decoder(const model::Model& model, int64_t slots, int64_t max_length);

  int64_t slots() const { return static_cast<int64_t>(lengths_.size()); }
  // Tokens in the slot; 0: free.
  int64_t length(int64_t slot) const { return lengths_.at(static_cast<size_t>(slot)); }
  void release(int64_t slot) { lengths_.at(static_cast<size_t>(slot)) = 0; }

  // Runs `tokens` (at least one) as a new sequence in a free slot. float32 [vocab]: the logits for
  // what follows the last one.
  at::Tensor start(int64_t slot, std::span<const int32_t> tokens);

  // Appends tokens[slot] to each slot that is not free. float32 [rows, vocab]: the logits for what
  // follows, row i for slot i; rows without a sequence are meaningless. Valid until the next call.
  const at::Tensor& step(std::span<const int32_t> tokens);

 private:
  // Activations of a number of rows, reused by all layers.
  struct Rows {
    Rows(const model::Shape& shape, int64_t rows);
    at::Tensor x_td, delta_td, normed_td, rstd_t, qkv, attention, gate_up_t2f, act_tf;
    model::QkNormBuffers qk_norm;
  };
  // Embedding to final norm, whose output is left in rows.normed_td. `attend` of a layer takes
  // rows.qkv and writes rows.attention.
  void run(const at::Tensor& tokens, const at::Tensor& positions, Rows& rows,
           const std::function<void(int64_t layer)>& attend);

  const model::Model& model_;
  model::RopeTable rope_;
  Cache cache_;
  std::vector<int64_t> lengths_;
  Rows step_rows_;
  at::Tensor step_tokens_, step_positions_, step_logits_;
};

}  // namespace rondo::generate

// Shape of a model of the Llama family: everything that fixes its computation, and nothing else.
//
// A plain struct: filled from a Hugging Face config.json (model/hf_config.hpp) or from `shape:` in
// the YAML. Legend of shape letters, used by all of model/: t rows (tokens of the flattened batch),
// d hidden, f feed-forward width, h query heads, k key/value heads, c head width, v vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rondo::model {

// How rotary frequencies are changed to reach beyond the positions of pre-training; formulas in
// model/rope.hpp. Zero means "as the kind's default", where there is one.
struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3, kYarn };
  Kind kind = Kind::kNone;
  double factor = 1;
  int64_t original_max_position = 0;  // llama3, yarn: positions of pre-training
  double low_freq_factor = 1;         // llama3
  double high_freq_factor = 4;        // llama3
  double beta_fast = 32;              // yarn
  double beta_slow = 1;               // yarn
  double attention_factor = 0;        // yarn: scale of cos and sin; 0: from factor (and mscale)
  double mscale = 0;                  // yarn: 0: not given
  double mscale_all_dim = 0;          // yarn: 0: not given
  bool truncate = true;               // yarn: round the correction range to whole dimensions
  bool operator==(const RopeScaling&) const = default;
};

// The families differ in what their config.json means and how it is written, not in code paths.
enum class Family { kLlama, kMistral, kQwen2, kQwen3 };
std::string_view name_of(Family family);          // "llama": model_type in config.json
std::string_view architecture_of(Family family);  // "LlamaForCausalLM"

struct Shape {
  Family family = Family::kLlama;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;    // 0: as many as heads
  int64_t head_width = 0;  // 0: hidden / heads
  int64_t ffn = 0;
  int64_t vocab = 0;
  int64_t max_seq = 0;  // longest document the model knows positions for
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  double norm_eps = 1e-5;
  bool tied = false;      // the head is the embedding
  bool qkv_bias = false;  // biases on q, k and v (Qwen2)
  bool qk_norm = false;   // RMSNorm on each query and key head before rope (Qwen3)
  double initializer_std = 0.02;

  // Fills the defaults of kv_heads and head_width, then throws UserError, with the arithmetic, for
  // a shape that no model can have. `subject` begins each message ("configs/a.yaml: model.shape").
  void validate(std::string_view subject);
  // UserError unless documents of `length` tokens have positions in this model.
  void check_length(int64_t length, std::string_view subject) const;

  int64_t q_width() const { return heads * head_width; }
  int64_t kv_width() const { return kv_heads * head_width; }
  int64_t qkv_width() const { return q_width() + 2 * kv_width(); }

  // Numbers of parameters. Matmul parameters are those that a token multiplies with (no norms, no
  // biases, no embedding lookup).
  int64_t block_matmul_parameters() const;
  int64_t block_parameters() const;
  int64_t head_matmul_parameters() const { return hidden * vocab; }
  int64_t parameters() const;  // a tied head counts once

  // FLOPs of forward and backward, a multiply and an add being two, without recomputation
  // (formula "causal per document"):
  //   6 * (layers * block_matmul_parameters * tokens + head_matmul_parameters * head_rows)
  //   + 12 * layers * heads * head_width * attention_pairs
  // head_rows: rows whose logits are computed; attention_pairs: PackedLayout::attention_pairs.
  // Forward: 2 per parameter and token, and per pair 2 for the score and 2 for the value; backward
  // is twice the forward.
  double model_flops(int64_t tokens, int64_t attention_pairs, int64_t head_rows) const;

  bool operator==(const Shape&) const = default;
};

}  // namespace rondo::model

// What a model, a layout of ranks and a batch are to a plan: the numbers that memory and
// communication follow from. Plain structs; train/ fills them from what it trains.
#pragma once

#include <cstdint>
#include <vector>

namespace rondo::plan {

struct Dimensions {
  int64_t hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_width = 0, ffn = 0, vocab = 0;
  bool tied = false, qkv_bias = false, qk_norm = false;
};

struct Ranks {
  int64_t replicate = 1, shard = 1, tensor = 1;
  int64_t data() const { return replicate * shard; }
  int64_t all() const { return data() * tensor; }
};

struct Layout {
  Ranks ranks;
  int64_t zero = 1;
  int64_t lanes = 0;           // of reproducible mode, else 0
  bool bf16_exchange = false;  // of gradients
  int64_t bucket = 1 << 20;    // elements; a collective's, about
  int64_t moment_bytes = 4;    // of an element of each of the two; 2: bfloat16
  int64_t compute_bytes = 4;   // of an element of weights and activations; 2: bfloat16
  int64_t chunk_rows = 512;    // whose logits exist at a time (kernels::head_loss)
  // The first so many blocks recompute at least: norms, attention, the whole block.
  int64_t recompute_norms = 0, recompute_attention = 0, recompute_block = 0;

  // That buckets divide into.
  int64_t parts() const { return lanes > 0 ? lanes : ranks.data(); }
  bool transient_weights() const { return zero >= 3; }
  bool transient_grads() const { return zero >= 2 && lanes == 0; }
  bool has_master_weights() const { return compute_bytes != 4; }
};

struct Batch {
  int64_t rows = 0;           // of a micro-batch: packs * tokens of a pack
  int64_t micro_batches = 1;  // of a step and rank
};

// Elements of each unit's flat buffer on one rank, padding included, and what of them several
// tensor ranks hold (summed over the shard axis).
struct UnitSize {
  int64_t numel = 0;
  // Norms, held by all tensor ranks, and key/value heads, held by some.
  int64_t norms = 0;
  int64_t shared_kv = 0;
};
// Embedding, blocks, final norm and head.
std::vector<UnitSize> unit_sizes(const Dimensions& model, const Layout& layout);

// Of the whole model, without padding; a tied head counts once.
int64_t parameters(const Dimensions& model);

}  // namespace rondo::plan

#include "plan/memory.hpp"

#include <algorithm>
#include <bit>

#include "base/slice.hpp"

namespace rondo::plan {

namespace {

int64_t aligned(int64_t bytes) { return base::round_up(bytes, 512); }

}  // namespace

int64_t activation_bytes(const Dimensions& m, const Layout& layout, int64_t rows) {
  const int64_t tensor = layout.ranks.tensor;
  const int64_t t = base::round_up(rows, tensor);
  const int64_t s = t / tensor;
  const int64_t heads = m.heads / tensor;
  const int64_t kv_heads = std::max<int64_t>(1, m.kv_heads / tensor);
  const int64_t f = base::ceil_div(m.ffn, tensor);
  const auto buffer = [&](int64_t elements) { return aligned(elements * layout.compute_bytes); };
  const auto floats = [](int64_t elements) { return aligned(elements * 4); };
  const int64_t sd = buffer(s * m.hidden);
  const int64_t td = buffer(t * m.hidden);
  const int64_t q = buffer(t * heads * m.head_width);
  const int64_t k = buffer(t * kv_heads * m.head_width);
  const int64_t qkv = buffer(t * (heads + 2 * kv_heads) * m.head_width);

  const int64_t norms = 2 * sd;
  int64_t attention = qkv + q + floats(t * heads);
  if (m.qk_norm) attention += q + k + floats(t * heads) + floats(t * kv_heads);
  const int64_t rest = 2 * floats(s) + sd + buffer(2 * t * f);
  // What is recomputed exists once for all blocks that do.
  const auto copies = [&](int64_t recomputed) {
    return m.layers - recomputed + (recomputed > 0 ? 1 : 0);
  };
  int64_t bytes = m.layers * sd + copies(layout.recompute_norms) * norms +
                  copies(layout.recompute_attention) * attention +
                  copies(layout.recompute_block) * rest;
  // Shared by all blocks: what a half adds, SwiGLU's output, the final norm, gradients.
  bytes += td + buffer(t * f) + 2 * sd + floats(s) + sd + td + q + qkv;
  if (tensor > 1) bytes += sd + td + td + sd;
  if (m.qk_norm) bytes += 2 * (q + k);
  return bytes;
}

int64_t snapshot_bytes(const Dimensions& model, int64_t ranks) {
  return base::ceil_div(int64_t{sizeof(float)} * 3 * parameters(model), ranks);
}

Memory memory_per_rank(const Dimensions& m, const Layout& layout, const Batch& batch) {
  const std::vector<UnitSize> units = unit_sizes(m, layout);
  const int64_t shard = layout.ranks.shard;
  int64_t all = 0;
  for (const UnitSize& unit : units) all += unit.numel;
  const int64_t block = units[1].numel;
  const int64_t ends = units.front().numel + units.back().numel;
  // Two neighbouring units are under way at the same time.
  const int64_t blocks = std::min<int64_t>(2, m.layers) * block;
  int64_t pair = 0, largest = 0;
  for (size_t u = 0; u + 1 < units.size(); ++u) {
    pair = std::max(pair, units[u].numel + units[u + 1].numel);
    largest = std::max({largest, units[u].numel, units[u + 1].numel});
  }

  Memory memory;
  if (!layout.transient_weights()) memory.weights += layout.compute_bytes * all;
  if (layout.transient_weights() || layout.has_master_weights()) memory.weights += 4 * all / shard;
  memory.gradients = 4 * (layout.transient_grads() ? all / shard : all);
  memory.moments = 2 * layout.moment_bytes * all / shard;
  if (layout.transient_weights()) memory.gathered += layout.compute_bytes * (ends + blocks);
  if (layout.transient_grads()) memory.gathered += 4 * (ends + blocks);
  if (layout.lanes > 0) {
    const auto lanes_here = static_cast<uint64_t>(layout.lanes / layout.ranks.data());
    memory.gathered += 4 * all * static_cast<int64_t>(std::bit_width(lanes_here) - 1);
  }
  if (shard > 1)
    memory.communication += 4 * (layout.transient_grads() ? std::max(pair, ends) : pair);
  if (layout.ranks.replicate > 1) memory.communication += 4 * (shard > 1 ? largest / shard : pair);
  // One bucket more, for what was received in float32.
  if (layout.bf16_exchange && layout.ranks.data() > 1) {
    memory.communication += 4 * std::min(layout.bucket, largest);
  }
  memory.activations = activation_bytes(m, layout, batch.rows);
  const int64_t chunk = std::min(layout.chunk_rows, batch.rows);
  memory.logits =
      layout.compute_bytes * chunk * (base::ceil_div(m.vocab, layout.ranks.tensor) + m.hidden);
  return memory;
}

}  // namespace rondo::plan

#include "train/plan_of.hpp"

#include "kernels/kernels.hpp"

namespace rondo::train {

plan::Dimensions dimensions_of(const model::Shape& shape) {
  return {.hidden = shape.hidden,
          .layers = shape.layers,
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .head_width = shape.head_width,
          .ffn = shape.ffn,
          .vocab = shape.vocab,
          .tied = shape.tied,
          .qkv_bias = shape.qkv_bias,
          .qk_norm = shape.qk_norm};
}

plan::Layout plan_layout(const Layout& layout, const model::Shape& shape) {
  using What = model::Recompute::What;
  const auto recomputed = [&](What what) {
    return layout.recompute.what >= what ? layout.recompute.count(shape.layers) : 0;
  };
  plan::Layout plan;
  plan.ranks = {
      .replicate = layout.mesh.replicate, .shard = layout.mesh.shard, .tensor = layout.mesh.tensor};
  plan.zero = layout.zero;
  plan.lanes = layout.lanes;
  plan.bf16_exchange = layout.bf16_exchange;
  plan.moment_bytes = static_cast<int64_t>(c10::elementSize(layout.moments));
  plan.compute_bytes = static_cast<int64_t>(c10::elementSize(layout.compute));
  if (!layout.device.is_cpu()) {
    plan.bucket = int64_t{1} << 40;
    plan.chunk_rows = kernels::kDeviceChunkRows;
  }
  plan.recompute_norms = recomputed(What::kNorms);
  plan.recompute_attention = recomputed(What::kAttention);
  plan.recompute_block = recomputed(What::kBlock);
  return plan;
}

}  // namespace rondo::train

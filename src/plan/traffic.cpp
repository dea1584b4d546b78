#include "plan/traffic.hpp"

#include "base/slice.hpp"

namespace rondo::plan {

namespace {

void add(Volume& volume, int64_t times, int64_t calls, int64_t bytes) {
  volume.calls += times * calls;
  volume.bytes += times * bytes;
}

// All but the last of those that recompute: its activations are still there.
int64_t again(int64_t recomputed) { return recomputed > 0 ? recomputed - 1 : 0; }

}  // namespace

StepTraffic step_traffic(const Dimensions& m, const Layout& layout, int64_t rows,
                         const std::vector<int64_t>& weighted_rows) {
  const std::vector<UnitSize> units = unit_sizes(m, layout);
  const int64_t bucket = base::round_up(layout.bucket, layout.parts() * 128);
  const auto micro_batches = static_cast<int64_t>(weighted_rows.size());
  const auto calls = [&](const UnitSize& unit) { return base::ceil_div(unit.numel, bucket); };

  StepTraffic traffic;
  for (size_t u = 0; u < units.size(); ++u) {
    const UnitSize& unit = units[u];
    const int64_t bytes = 4 * unit.numel;
    const int64_t exchanged = layout.bf16_exchange ? bytes / 2 : bytes;
    if (layout.ranks.shard > 1) {
      add(traffic.shard_gradients, layout.transient_grads() ? micro_batches : 1, calls(unit),
          exchanged);
    }
    int64_t gathers = 1;
    if (layout.transient_weights()) {
      const bool first = u == 0;
      const bool last_block = u + 2 == units.size();
      const bool block = !first && u + 1 < units.size();
      gathers = micro_batches *
                (1 + (block && !last_block ? 1 : 0) + (first && m.tied && m.layers > 1 ? 1 : 0));
    }
    add(traffic.shard_weights, gathers, calls(unit), layout.compute_bytes * unit.numel);
    if (layout.ranks.replicate > 1) {
      add(traffic.replicate_gradients, 1, 2 * calls(unit),
          (exchanged + bytes) / layout.ranks.shard);
    }
    traffic.tensor_gradient_bytes += 4 * (unit.norms + unit.shared_kv);
  }
  const int64_t row_bytes =
      layout.compute_bytes * base::round_up(rows, layout.ranks.tensor) * m.hidden;
  for (const int64_t n : weighted_rows) {
    if (n == 0) continue;
    const int64_t transfers =
        4 + 10 * m.layers + again(layout.recompute_attention) + 2 * again(layout.recompute_block);
    add(traffic.tensor_activations, transfers, 1, row_bytes);
    traffic.tensor_activations.calls += 2 * base::ceil_div(n, layout.chunk_rows);
    traffic.tensor_activations.bytes += (4 + 24) * n;
  }
  return traffic;
}

}  // namespace rondo::plan

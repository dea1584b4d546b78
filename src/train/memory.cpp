#include "train/memory.hpp"

#include "base/host_memory.hpp"
#include "plan/memory.hpp"
#include "train/plan_of.hpp"

namespace rondo::train {

int64_t choose_micro_packs(const Layout& layout, const model::Shape& shape, int64_t seq_len,
                           int64_t packs_per_rank, int64_t budget_bytes) {
  const plan::Dimensions dimensions = dimensions_of(shape);
  const plan::Layout plan = plan_layout(layout, shape);
  const int64_t most_rows = layout.device.is_cpu() ? 4096 : 16384;
  int64_t best = 1;
  for (int64_t packs = 1; packs <= packs_per_rank; ++packs) {
    if (packs_per_rank % packs != 0) continue;
    const int64_t rows = packs * seq_len;
    if (rows <= most_rows && plan::activation_bytes(dimensions, plan, rows) <= budget_bytes) {
      best = packs;
    }
  }
  return best;
}

int64_t available_memory(int ranks_on_host) { return base::available_bytes() / ranks_on_host; }

}  // namespace rondo::train

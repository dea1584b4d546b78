// What memory there is, and how many packs a micro-batch may hold.
#pragma once

#include <cstdint>

#include "model/shape.hpp"
#include "train/layout.hpp"

namespace rondo::train {

// The largest divisor of `packs_per_rank` whose activations fit `budget_bytes` and whose rows are
// at most 4096 (beyond that larger micro-batches only cost cache misses on CPU; on GPUs 16384,
// where products have long reached their speed); at least 1.
int64_t choose_micro_packs(const Layout& layout, const model::Shape& shape, int64_t seq_len,
                           int64_t packs_per_rank, int64_t budget_bytes);

// What a rank may still take where so many share this host, and the limit of its job.
int64_t available_memory(int ranks_on_host);

}  // namespace rondo::train

// Whether a configured run fits the memory and the disk that its ranks have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/finding.hpp"
#include "comm/control.hpp"
#include "model/shape.hpp"
#include "train/config.hpp"
#include "train/layout.hpp"

namespace rondo::train {

// What a run writes into its folder, from the number of parameters: float32 weights and two
// moments of each checkpoint, keep + 1 of which exist at a time; then the weights of ended rounds,
// and exported models. Data is not in it.
struct DiskNeed {
  int64_t checkpoint = 0;  // bytes of one
  int64_t copies = 0;      // that exist at the same time
  int64_t rounds = 0;      // bytes of the weights that rounds leave behind, exported ones included
  int64_t there = 0;       // bytes of checkpoints that the run folder holds already

  int64_t checkpoints() const { return checkpoint * copies; }
};
DiskNeed disk_need(const Config& config, int64_t parameters);

// Finding "disk".
base::Finding judge_disk(const DiskNeed& need, int64_t free_bytes, const std::string& folder);

// Finding "memory". `machine` is that of all ranks. UserError where the configuration does not suit
// the ranks whatever memory they have.
base::Finding judge_memory(const Config& config, const model::Shape& shape, const Machine& machine);

}  // namespace rondo::train

// What a run chooses for the machine it is on: its layout, as it was begun, and its micro-batches.
#pragma once

#include <string>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "model/shape.hpp"
#include "train/layout.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

// Collective over all ranks. The least memory of any rank counts for all. `gpu_memory`: free bytes
// of this rank's GPU; 0: it computes on the host.
Machine find_machine(const std::string& host, int64_t gpu_memory, comm::Control& control,
                     comm::Group& group);

// The configuration, `auto` of the layout being what the run began with on as many ranks: another
// would add up in another order.
Config begun_layout(const Config& config, const RunState& state, int ranks);

// `auto` of batch.micro_packs becomes what the memory allows, or what the run began with, which
// `state` then holds. UserError when what is to be read ahead does not fit to it.
void choose_micro_batches(Config& config, RunState& state, const Layout& layout,
                          const Machine& machine, const model::Shape& shape);

// Whether saves go on in the background, given the bytes of a snapshot on this rank: see
// checkpoint.background. UserError when it is asked for and there is no room. Of this rank: agree.
bool room_for_snapshot(const Config& config, const Layout& layout, const Machine& machine,
                       int64_t snapshot_bytes);

}  // namespace rondo::train

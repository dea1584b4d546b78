#include "train/run_layout.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/units.hpp"
#include "data/loader.hpp"
#include "train/memory.hpp"

namespace rondo::train {

Machine find_machine(const std::string& host, int64_t gpu_memory, comm::Control& control,
                     comm::Group& group) {
  Machine machine;
  machine.hosts = control.gather_text(host);
  const auto on_host = std::ranges::count(machine.hosts, host);
  const at::Tensor least =
      at::tensor({-available_memory(static_cast<int>(on_host)), -gpu_memory}, at::kLong);
  group.all_max(least, comm::Purpose::kControl).wait();
  machine.memory = -least[0].item<int64_t>();
  if (gpu_memory > 0) {
    machine.host_memory = machine.memory;
    machine.memory = -least[1].item<int64_t>();
  }
  return machine;
}

Config begun_layout(const Config& config, const RunState& state, int ranks) {
  Config begun = config;
  if (state.ranks != ranks) return begun;
  if (begun.parallel.tensor.automatic()) begun.parallel.tensor.value = state.tensor;
  if (begun.parallel.zero.automatic()) begun.parallel.zero.value = state.zero;
  return begun;
}

void choose_micro_batches(Config& config, RunState& state, const Layout& layout,
                          const Machine& machine, const model::Shape& shape) {
  // What the state and what a step needs besides leave. On the host no more than a quarter of the
  // memory; on a GPU some is left for the libraries and what allocation loses.
  constexpr int64_t kLibraries = int64_t{2} << 30;
  const plan::Memory& planned = layout.memory;
  const int64_t left = machine.memory - (planned.peak() - planned.activations);
  const int64_t budget =
      layout.device.is_cpu() ? std::min(machine.memory / 4, left) : left - kLibraries;
  for (auto& round : config.rounds) {
    BatchSection& batch = round.batch.value;
    if (batch.micro_packs.automatic()) {
      const int64_t per_rank = batch.packs / layout.mesh.data();
      const auto before = state.micro_packs.find(round.name);
      const bool usable = before != state.micro_packs.end() && per_rank % before->second == 0;
      batch.micro_packs.value =
          usable ? before->second
                 : choose_micro_packs(layout, shape, batch.seq_len, per_rank, budget);
      state.micro_packs[round.name] = batch.micro_packs.value;
    }
    if (batch.read_ahead.automatic()) continue;
    data::check_read_ahead(batch.read_ahead.value, batch.micro_packs.value);
  }
}

bool room_for_snapshot(const Config& config, const Layout& layout, const Machine& machine,
                       int64_t snapshot_bytes) {
  const std::string& wanted = config.checkpoint.background;
  if (wanted == "off") return false;
  if (!layout.device.is_cpu()) {
    // The copy that every save takes is the snapshot.
    if (snapshot_bytes <= machine.host_memory) return true;
    base::fail_user(
        "{}: a save copies {} of each rank from its GPU to the host, which has {} for it. Use "
        "more ranks, or fewer on a host.",
        config.place, base::format_bytes(snapshot_bytes), base::format_bytes(machine.host_memory));
  }
  const int64_t room = machine.memory - layout.memory.peak();
  if (machine.memory == 0 || snapshot_bytes <= room) return true;
  if (wanted == "auto") return false;
  base::fail_user(
      "{}: checkpoint.background is on, but a snapshot takes {} per rank, and {} are left beside "
      "the training. Use off or auto, or more ranks.",
      config.place, base::format_bytes(snapshot_bytes),
      base::format_bytes(std::max<int64_t>(room, 0)));
}

}  // namespace rondo::train

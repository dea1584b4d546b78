#include "train/selftest_plan.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/units.hpp"

namespace rondo::train {

namespace fs = std::filesystem;

using base::Finding;
using base::Status;

namespace {

int64_t bytes_under(const std::string& folder) {
  int64_t bytes = 0;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_regular_file(ignored)) continue;
    const auto size = entry->file_size(ignored);
    if (!ignored) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

}  // namespace

DiskNeed disk_need(const Config& config, int64_t parameters) {
  const auto rounds = static_cast<int64_t>(config.rounds.size());
  DiskNeed need;
  need.checkpoint = 12 * parameters;
  need.copies = config.checkpoint.keep + 1;
  need.rounds = 4 * parameters * (rounds - 1);
  if (config.exports.rounds) {
    need.rounds += (config.exports.dtype == "fp32" ? 4 : 2) * parameters * rounds;
  }
  need.there = bytes_under(config.run_folder() + "/checkpoints");
  return need;
}

Finding judge_disk(const DiskNeed& need, int64_t free_bytes, const std::string& folder) {
  const auto bytes = [](int64_t value) { return base::format_bytes(value); };
  const std::string sum =
      fmt::format("{} checkpoints of {} = {} exist at a time{}", need.copies,
                  bytes(need.checkpoint), bytes(need.checkpoints()),
                  need.there > 0 ? fmt::format(" ({} are there)", bytes(need.there)) : "");
  if (free_bytes + need.there < need.checkpoints()) {
    return {"disk", Status::kFailed,
            fmt::format("{}, but {} are free in {}: free some, lower checkpoint.keep, or choose "
                        "another run.dir",
                        sum, bytes(free_bytes), folder)};
  }
  if (free_bytes + need.there < need.checkpoints() + need.rounds) {
    return {"disk", Status::kWarning,
            fmt::format("{}, and the rounds leave {} of weights, but {} are free in {}: a later "
                        "round will find the disk full; free some, lower checkpoint.keep, or set "
                        "export.rounds: false",
                        sum, bytes(need.rounds), bytes(free_bytes), folder)};
  }
  return {"disk", Status::kOk,
          fmt::format("{}, the rounds leave {}; {} are free", sum, bytes(need.rounds),
                      bytes(free_bytes))};
}

Finding judge_memory(const Config& config, const model::Shape& shape, const Machine& machine) {
  Machine boundless = machine;
  boundless.memory = 0;
  choose_layout(config, shape, boundless);
  try {
    const Layout layout = choose_layout(config, shape, machine);
    return {"memory", Status::kOk,
            fmt::format(
                "a rank needs {} (replicate {} x shard {} x tensor {}, ZeRO-{}), and has {}",
                base::format_bytes(layout.memory.peak()), layout.mesh.replicate, layout.mesh.shard,
                layout.mesh.tensor, layout.zero, base::format_bytes(machine.memory))};
  } catch (const base::UserError& error) {
    return {"memory", Status::kFailed, error.what()};
  }
}

}  // namespace rondo::train

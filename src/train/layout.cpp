#include "train/layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "model/weights.hpp"

namespace rondo::train {

namespace {

std::string divisors_of(int64_t number) {
  std::vector<int64_t> all;
  for (int64_t i = 1; i <= number; ++i) {
    if (number % i == 0) all.push_back(i);
  }
  return fmt::format("{}", fmt::join(all, ", "));
}

bool is_power_of_two(int64_t value) { return value >= 1 && (value & (value - 1)) == 0; }

// Whether each group of `tensor` neighbouring ranks is on one host.
bool inside_hosts(const std::vector<std::string>& hosts, int64_t tensor) {
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    const size_t first = rank / static_cast<size_t>(tensor) * static_cast<size_t>(tensor);
    if (hosts[rank] != hosts[first]) return false;
  }
  return true;
}

model::Recompute recompute_of(const RecomputeSection& section) {
  using What = model::Recompute::What;
  const What what = section.what == "norms"       ? What::kNorms
                    : section.what == "attention" ? What::kAttention
                    : section.what == "block"     ? What::kBlock
                                                  : What::kNone;
  return {.what = what, .share = section.share};
}

}  // namespace

parallel::MeshSize mesh_size(const Config& config, int ranks, int64_t tensor, int64_t zero) {
  const ParallelSection& parallel = config.parallel;
  if (ranks % tensor != 0) {
    base::fail_user(
        "{}: parallel.tensor = {} does not divide the {} ranks ({} / {}). Start a multiple of {} "
        "ranks, or use a tensor size of {}.",
        config.place, tensor, ranks, ranks, tensor, tensor, divisors_of(ranks));
  }
  const int64_t data = ranks / tensor;
  int64_t shard = parallel.shard.value;
  int64_t replicate = parallel.replicate.value;
  if (parallel.shard.automatic() && parallel.replicate.automatic()) replicate = 1;
  if (parallel.shard.automatic()) shard = std::max<int64_t>(1, data / replicate);
  if (replicate == 0) replicate = std::max<int64_t>(1, data / shard);
  // With zero: 0 the ranks of both axes do the same.
  if (zero == 0 && parallel.shard.automatic() && data % replicate == 0) shard = data / replicate;
  if (replicate * shard != data) {
    base::fail_user(
        "{}: the ranks do not factor: replicate {} * shard {} * tensor {} = {}, but there are {} "
        "ranks. Start {} ranks, or leave shard or replicate `auto` ({} data-parallel ranks divide "
        "by {}).",
        config.place, replicate, shard, tensor, replicate * shard * tensor, ranks,
        replicate * shard * tensor, data, divisors_of(data));
  }
  if (zero == 0) {
    replicate = data;
    shard = 1;
  }
  return {base::narrow<int>(replicate), base::narrow<int>(shard), base::narrow<int>(tensor)};
}

void check_batches(const Config& config, const parallel::MeshSize& mesh) {
  base::Problems problems;
  const ParallelSection& parallel = config.parallel;
  const int data = mesh.data();
  const int64_t lanes = parallel.reproducible ? parallel.reduction_lanes : data;
  if (parallel.reproducible && !is_power_of_two(parallel.reduction_lanes)) {
    problems.add(
        fmt::format("{}: parallel.reduction_lanes = {} is no power of two. Use 1, 2, 4, 8, ...",
                    config.place, parallel.reduction_lanes));
  } else if (lanes % data != 0) {
    problems.add(fmt::format(
        "{}: a reproducible run sums its gradients in parallel.reduction_lanes = {} lanes, which "
        "do not divide over {} data-parallel ranks ({} / {}). Use {} ranks, or more lanes.",
        config.place, lanes, data, lanes, data, divisors_of(lanes)));
  }
  problems.throw_if_any();
  for (size_t i = 0; i < config.rounds.size(); ++i) {
    const BatchSection& batch = config.rounds[i].batch.value;
    if (parallel.reproducible && batch.micro_packs.automatic()) {
      problems.add(fmt::format(
          "{}: rounds[{}] ({}): batch.micro_packs is auto, but the bits of a reproducible run "
          "depend on it. Give a number.",
          config.rounds[i].place, i, config.rounds[i].name));
      continue;
    }
    const int64_t micro = batch.micro_packs.automatic() ? 1 : batch.micro_packs.value;
    const int64_t quantum = lanes * micro;
    if (batch.packs % quantum == 0) continue;
    const int64_t below = batch.packs / quantum * quantum;
    const std::string choices =
        below > 0 ? fmt::format("{} or {}", below, below + quantum) : fmt::format("{}", quantum);
    const std::string over = parallel.reproducible ? fmt::format("{} reduction lanes", lanes)
                             : mesh.tensor > 1     ? fmt::format("{} data-parallel ranks", data)
                                                   : fmt::format("{} ranks", data);
    problems.add(fmt::format(
        "{}: rounds[{}] ({}): batch.packs = {} does not divide over {} with micro_packs = {} "
        "({} / ({} * {}) = {:.3f} micro-batches each). Use packs = {}, another micro_packs, or "
        "another number of {}.",
        config.rounds[i].place, i, config.rounds[i].name, batch.packs, over, micro, batch.packs,
        lanes, micro, static_cast<double>(batch.packs) / static_cast<double>(quantum), choices,
        parallel.reproducible ? "lanes" : "ranks"));
  }
  problems.throw_if_any();
}

void check_ranks(const Config& config, int ranks) {
  const int64_t tensor = std::max<int64_t>(1, config.parallel.tensor.value);
  check_batches(config, mesh_size(config, ranks, tensor, config.parallel.zero.value));
}

Layout choose_layout(const Config& config, const model::Shape& shape,
                     const std::vector<std::string>& hosts) {
  const auto ranks = base::narrow<int>(std::ssize(hosts));
  Layout layout;
  layout.recompute = recompute_of(config.recompute);
  if (config.parallel.reproducible) layout.lanes = config.parallel.reduction_lanes;
  layout.zero = base::narrow<int>(config.parallel.zero.value);
  const int64_t tensor = config.parallel.tensor.value;
  model::check_tensor_size(shape, tensor, config.place + ": parallel.tensor");
  layout.mesh = mesh_size(config, ranks, tensor, layout.zero);
  check_batches(config, layout.mesh);
  if (!inside_hosts(hosts, layout.mesh.tensor)) {
    layout.remarks.push_back(fmt::format(
        "groups of {} tensor-parallel ranks span hosts, and each layer waits for the network "
        "between them: start the ranks of a host one after another, or use a smaller tensor size",
        layout.mesh.tensor));
  }
  return layout;
}

}  // namespace rondo::train

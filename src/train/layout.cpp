#include "train/layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "base/units.hpp"
#include "model/weights.hpp"
#include "train/device.hpp"
#include "train/plan_of.hpp"

namespace rondo::train {

namespace {

constexpr std::string_view kReplicas = "ZeRO-0 divides nothing: the ranks of shard are replicas";
constexpr std::string_view kWholeGradients =
    "reproducible mode keeps whole gradients on each rank, at ZeRO-2 and 3 too";

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

}  // namespace

model::Recompute recompute_of(const RecomputeSection& section) {
  using What = model::Recompute::What;
  const What what = section.what == "norms"       ? What::kNorms
                    : section.what == "attention" ? What::kAttention
                    : section.what == "block"     ? What::kBlock
                                                  : What::kNone;
  return {.what = what, .share = section.share};
}

namespace {

struct DataAxes {
  int64_t replicate = 1, shard = 1;
};

// What the configuration asks of so many data-parallel ranks; the product is another number where
// they do not factor.
DataAxes axes_of(const ParallelSection& parallel, int64_t data) {
  DataAxes axes{parallel.replicate.value, parallel.shard.value};
  if (parallel.shard.automatic() && parallel.replicate.automatic()) axes.replicate = 1;
  if (parallel.shard.automatic()) axes.shard = std::max<int64_t>(1, data / axes.replicate);
  if (axes.replicate == 0) axes.replicate = std::max<int64_t>(1, data / axes.shard);
  return axes;
}

// Whether so many ranks make a mesh with that tensor size.
bool factors(const Config& config, int ranks, int64_t tensor) {
  if (ranks % tensor != 0) return false;
  const auto [replicate, shard] = axes_of(config.parallel, ranks / tensor);
  return replicate * shard == ranks / tensor;
}

// The smallest tensor size with which the ranks make a mesh; 1 when none does.
int64_t least_tensor(const Config& config, int ranks) {
  for (int64_t tensor = 1; tensor <= ranks; ++tensor) {
    if (factors(config, ranks, tensor)) return tensor;
  }
  return 1;
}

}  // namespace

parallel::MeshSize mesh_size(const Config& config, int ranks, int64_t tensor, int64_t zero) {
  if (ranks % tensor != 0) {
    base::fail_user(
        "{}: parallel.tensor = {} does not divide the {} ranks ({} / {}). Start a multiple of {} "
        "ranks, or use a tensor size of {}.",
        config.place, tensor, ranks, ranks, tensor, tensor, divisors_of(ranks));
  }
  const int64_t data = ranks / tensor;
  auto [replicate, shard] = axes_of(config.parallel, data);
  if (replicate * shard != data) {
    base::fail_user(
        "{}: the ranks do not factor: replicate {} * shard {} * tensor {} = {}, but there are {} "
        "ranks. Start {} ranks, or leave shard or replicate `auto` ({} data-parallel ranks divide "
        "by {}).",
        config.place, replicate, shard, tensor, replicate * shard * tensor, ranks,
        replicate * shard * tensor, data, divisors_of(data));
  }
  // Its ranks are replicas, on whichever axis.
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
  if (parallel.reproducible && parallel.gradient_exchange != "fp32") {
    problems.add(
        fmt::format("{}: parallel.gradient_exchange = {} rounds what each rank has summed, so that "
                    "a reproducible run would depend on their number. Use fp32.",
                    config.place, parallel.gradient_exchange));
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
  const int64_t tensor = config.parallel.tensor.automatic() ? least_tensor(config, ranks)
                                                            : config.parallel.tensor.value;
  check_batches(config, mesh_size(config, ranks, tensor, config.parallel.zero.value));
}

namespace {

// Rows of the largest micro-batch; with `auto` it holds at least a pack.
int64_t most_rows(const Config& config) {
  int64_t rows = 0;
  for (const RoundSection& round : config.rounds) {
    const BatchSection& batch = round.batch.value;
    rows = std::max(rows, std::max<int64_t>(1, batch.micro_packs.value) * batch.seq_len);
  }
  return rows;
}

plan::Memory memory_of(const Layout& layout, const model::Shape& shape, int64_t rows) {
  return plan::memory_per_rank(dimensions_of(shape), plan_layout(layout, shape), {.rows = rows});
}

std::string in_words(const plan::Memory& memory) {
  const auto bytes = [](int64_t value) { return base::format_bytes(value); };
  return fmt::format("{} = weights {}, gradients {}, moments {}, within a step {}, activations {}",
                     bytes(memory.peak()), bytes(memory.weights), bytes(memory.gradients),
                     bytes(memory.moments), bytes(memory.gathered + memory.communication),
                     bytes(memory.activations + memory.logits));
}

// Tensor sizes to choose from: inside a host, dividing ranks and heads.
std::vector<int64_t> tensor_sizes(const Config& config, const model::Shape& shape,
                                  const std::vector<std::string>& hosts) {
  if (!config.parallel.tensor.automatic()) return {config.parallel.tensor.value};
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size <= std::ssize(hosts); ++size) {
    if (factors(config, base::narrow<int>(std::ssize(hosts)), size) &&
        model::fits_tensor_size(shape, size) && inside_hosts(hosts, size)) {
      sizes.push_back(size);
    }
  }
  if (sizes.empty()) sizes.push_back(1);  // which says why it cannot be
  return sizes;
}

}  // namespace

Layout choose_layout(const Config& config, const model::Shape& shape, const Machine& machine) {
  const ParallelSection& parallel = config.parallel;
  const auto ranks = base::narrow<int>(std::ssize(machine.hosts));
  const int64_t rows = most_rows(config);
  std::vector<int64_t> stages = {1, 2, 3};
  if (!parallel.zero.automatic()) stages = {parallel.zero.value};
  Layout layout;
  layout.recompute = recompute_of(config.recompute);
  if (parallel.reproducible) layout.lanes = parallel.reduction_lanes;
  layout.bf16_exchange = parallel.gradient_exchange == "bf16";
  const parallel::StateSettings computed =
      computing(config.device, config.precision, config.moments);
  layout.compute = computed.compute;
  layout.moments = computed.moments;
  layout.device = computed.device;
  bool fits = false;
  for (const int64_t tensor : tensor_sizes(config, shape, machine.hosts)) {
    model::check_tensor_size(shape, tensor, config.place + ": parallel.tensor");
    for (const int64_t zero : stages) {
      if (fits) continue;
      layout.zero = base::narrow<int>(zero);
      layout.mesh = mesh_size(config, ranks, tensor, zero);
      check_batches(config, layout.mesh);
      layout.memory = memory_of(layout, shape, rows);
      fits = machine.memory == 0 || layout.memory.peak() <= machine.memory;
    }
  }
  if (!fits) {
    base::fail_user(
        "{}: a rank needs {} (replicate {} x shard {} x tensor {}, ZeRO-{}), and there are {} for "
        "each. Use more ranks, parallel.zero: 3, a larger parallel.tensor, recompute: block, or a "
        "smaller batch.micro_packs.",
        config.place, in_words(layout.memory), layout.mesh.replicate, layout.mesh.shard,
        layout.mesh.tensor, layout.zero, base::format_bytes(machine.memory));
  }
  if (parallel.tensor.automatic() || parallel.zero.automatic()) {
    layout.remarks.push_back(fmt::format(
        "tensor {} and ZeRO-{} are the first that fit: a rank needs {}{}", layout.mesh.tensor,
        layout.zero, in_words(layout.memory),
        machine.memory > 0 ? fmt::format(" of {}", base::format_bytes(machine.memory)) : ""));
  }
  if (layout.zero == 0 && parallel.shard.value > 1) {
    layout.remarks.emplace_back(kReplicas);
  }
  if (layout.lanes > 0 && layout.zero >= 2) {
    layout.remarks.emplace_back(kWholeGradients);
  }
  if (!inside_hosts(machine.hosts, layout.mesh.tensor)) {
    layout.remarks.push_back(fmt::format(
        "groups of {} tensor-parallel ranks span hosts, and each layer waits for the network "
        "between them: start the ranks of a host one after another, or use a smaller tensor size",
        layout.mesh.tensor));
  }
  return layout;
}

}  // namespace rondo::train

// rondo plan CONFIG: what a run of the configuration needs of each rank, before any rank is
// started.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "app/command.hpp"
#include "app/config_options.hpp"
#include "base/units.hpp"
#include "plan/memory.hpp"
#include "plan/traffic.hpp"
#include "train/memory.hpp"
#include "train/plan_of.hpp"
#include "train/run_layout.hpp"

namespace rondo::app {

namespace {

struct PlanOptions : ConfigOptions {
  int ranks = 0;           // 0: those that are there
  int ranks_per_host = 0;  // 0: all on one host
  double memory_gib = 0;   // of a rank; 0: what this host has, divided by its ranks
  bool json = false;
};

train::Machine machine_of(const PlanOptions& options, int ranks) {
  const int per_host = options.ranks_per_host > 0 ? options.ranks_per_host : ranks;
  train::Machine machine;
  for (int rank = 0; rank < ranks; ++rank) {
    machine.hosts.push_back(fmt::format("host-{}", rank / per_host));
  }
  machine.memory = options.memory_gib > 0
                       ? static_cast<int64_t>(options.memory_gib * 1024 * 1024 * 1024)
                       : train::available_memory(per_host);
  return machine;
}

// Every row that a round's micro-batches have, as if all of them carried weight.
plan::StepTraffic most_traffic(const train::Config& config, const train::Layout& layout,
                               const model::Shape& shape, size_t round) {
  const train::BatchSection& batch = config.rounds[round].batch.value;
  const int64_t micro_packs = std::max<int64_t>(1, batch.micro_packs.value);
  const int64_t rows = micro_packs * batch.seq_len;
  const int64_t micro_batches = batch.packs / (layout.mesh.data() * micro_packs);
  return plan::step_traffic(train::dimensions_of(shape), train::plan_layout(layout, shape), rows,
                            std::vector<int64_t>(static_cast<size_t>(micro_batches), rows));
}

// What becomes of a snapshot beside all that training holds.
std::string snapshot_text(const train::Config& config, const train::Layout& layout,
                          const train::Machine& machine, int64_t bytes) {
  if (config.checkpoint.background == "off") return "none: checkpoint.background is off";
  return train::room_for_snapshot(config, layout, machine, bytes)
             ? "beside it, for saves in the background"
             : "there is no room for it: saves will not go on in the background";
}

nlohmann::json to_json(const plan::Memory& memory) {
  return {{"weights", memory.weights},
          {"gradients", memory.gradients},
          {"moments", memory.moments},
          {"gathered", memory.gathered},
          {"communication", memory.communication},
          {"activations", memory.activations},
          {"logits", memory.logits},
          {"persistent", memory.persistent()},
          {"peak", memory.peak()}};
}

struct Line {
  const char* axis;
  const char* purpose;
  plan::Volume volume;
};

std::vector<Line> lines_of(const plan::StepTraffic& traffic, const parallel::MeshSize& mesh) {
  std::vector<Line> lines;
  if (mesh.shard > 1) {
    lines.push_back({"shard", "gradients", traffic.shard_gradients});
    lines.push_back({"shard", "weights", traffic.shard_weights});
  }
  if (mesh.replicate > 1) {
    lines.push_back({"replicate", "gradients", traffic.replicate_gradients});
  }
  if (mesh.tensor > 1) lines.push_back({"tensor", "activations", traffic.tensor_activations});
  return lines;
}

base::Exit run(const PlanOptions& options, Context& context) {
  base::Console& console = context.console;
  const train::Config config = options.read(context.control);
  const model::Shape shape = train::base_shape(config, context.control);
  const int ranks = options.ranks > 0 ? options.ranks : context.control.size();
  train::Layout layout;
  const train::Machine machine = machine_of(options, ranks);
  const int64_t snapshot = plan::snapshot_bytes(train::dimensions_of(shape), ranks);
  std::string about_snapshot;
  context.control.agree([&] {
    layout = train::choose_layout(config, shape, machine);
    about_snapshot = snapshot_text(config, layout, machine, snapshot);
  });
  const plan::Memory& memory = layout.memory;
  const parallel::MeshSize& mesh = layout.mesh;

  if (options.json) {
    nlohmann::json json = {{"parameters", shape.parameters()},
                           {"ranks", ranks},
                           {"replicate", mesh.replicate},
                           {"shard", mesh.shard},
                           {"tensor", mesh.tensor},
                           {"zero", layout.zero},
                           {"memory_per_rank", to_json(memory)},
                           {"snapshot_bytes_per_rank", snapshot},
                           {"remarks", layout.remarks}};
    for (size_t i = 0; i < config.rounds.size(); ++i) {
      auto volumes = nlohmann::json::array();
      for (const Line& line : lines_of(most_traffic(config, layout, shape, i), mesh)) {
        volumes.push_back({{"axis", line.axis},
                           {"purpose", line.purpose},
                           {"calls", line.volume.calls},
                           {"bytes", line.volume.bytes}});
      }
      json["rounds"].push_back({{"name", config.rounds[i].name}, {"step_traffic", volumes}});
    }
    console.line("{}", json.dump(2));
    return base::Exit::kDone;
  }

  const auto bytes = [](int64_t value) { return base::format_bytes(value); };
  console.line("model        {} parameters",
               base::format_count(static_cast<double>(shape.parameters())));
  console.line("layout       {} ranks: replicate {} x shard {} x tensor {}, ZeRO-{}{}", ranks,
               mesh.replicate, mesh.shard, mesh.tensor, layout.zero,
               layout.lanes > 0 ? fmt::format(", reproducible in {} lanes", layout.lanes) : "");
  for (const std::string& remark : layout.remarks) console.line("             {}", remark);
  console.line("memory       of a rank, for the largest micro-batch");
  console.line("  weights        {:>12}", bytes(memory.weights));
  console.line("  gradients      {:>12}", bytes(memory.gradients));
  console.line("  moments        {:>12}", bytes(memory.moments));
  console.line("  within a step  {:>12}  whole for a moment, and received",
               bytes(memory.gathered + memory.communication));
  console.line("  activations    {:>12}", bytes(memory.activations));
  console.line("  logits         {:>12}", bytes(memory.logits));
  console.line("  at most        {:>12}", bytes(memory.peak()));
  console.line("  snapshot       {:>12}  {}", bytes(snapshot), about_snapshot);
  for (size_t i = 0; i < config.rounds.size(); ++i) {
    const auto lines = lines_of(most_traffic(config, layout, shape, i), mesh);
    console.line(
        "step of {}   {}", config.rounds[i].name,
        lines.empty() ? "no communication" : "a rank's collectives, if every token carried weight");
    for (const Line& line : lines) {
      console.line("  {:<9}  {:<11}  {:>6} calls  {:>12}", line.axis, line.purpose,
                   line.volume.calls, bytes(line.volume.bytes));
    }
  }
  return base::Exit::kDone;
}

}  // namespace

Command plan_command() {
  auto options = std::make_shared<PlanOptions>();
  return {"plan", "parameters, memory and communication of a configuration, without training",
          [options](CLI::App& parser) {
            options->declare(parser);
            parser
                .add_option("--ranks", options->ranks, "for so many ranks (default: those there)")
                ->check(CLI::Range(1, 1 << 20));
            parser
                .add_option("--ranks-per-host", options->ranks_per_host,
                            "of them on each host (default: all)")
                ->check(CLI::Range(1, 1 << 20));
            parser
                .add_option("--memory", options->memory_gib,
                            "GiB that each rank may use (default: this host's, divided)")
                ->check(CLI::Range(1e-6, 1e6));
            parser.add_flag("--json", options->json, "as one JSON object");
          },
          [options](Context& context) { return run(*options, context); }};
}

}  // namespace rondo::app

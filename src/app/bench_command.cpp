// rondo bench WHAT: figures as one JSON object on standard output.
#include <ATen/Parallel.h>

#include <memory>

#include "app/command.hpp"
#include "app/compute_group.hpp"
#include "checkpoint/bench_checkpoint.hpp"
#include "comm/bench_collectives.hpp"
#include "data/bench_clean.hpp"
#include "data/bench_pack.hpp"
#include "train/bench_score.hpp"
#include "train/bench_step.hpp"
#include "train/calibration.hpp"
#include "train/layout.hpp"

namespace rondo::app {

namespace {

// Far above what a machine holds, far below what overflows.
constexpr int64_t kMost = 1'000'000;
constexpr int64_t kMostDocuments = 1'000'000'000;

struct BenchOptions {
  std::string what = "step";
  train::BenchStepSettings step;
  std::string layout;
  std::string recompute = "none";
  std::string device = "auto";
  std::string precision = "auto";
  std::string moments = "fp32";
  int64_t repeats = 20;
  int64_t documents = 1'000'000;
  int64_t examples = 1'000'000;
  uint64_t seed = 1;
  checkpoint::BenchSettings checkpoint;
};

// What runs a model: the step, or scoring against evaluation.
nlohmann::json bench_model(const BenchOptions& options, Context& context) {
  train::WantedDevice wanted = {"bench " + options.what, options.device, options.precision};
  const train::ChosenDevice device =
      train::choose_device(wanted, context.runtime.host(), context.control);
  const auto group = compute_group(device, context);
  train::BenchStepSettings step = options.step;
  if (!options.layout.empty()) step.mesh = train::parse_mesh(options.layout);
  step.model.recompute = train::recompute_of({.what = options.recompute});
  const auto computed = train::computing(wanted.device, wanted.precision, options.moments);
  step.model.state.compute = computed.compute;
  step.model.state.moments = computed.moments;
  step.model.state.device = computed.device;
  step.gpu = device.name;
  return options.what == "step" ? train::bench_step(step, *group, context.control)
                                : train::bench_score(step, *group, context.control);
}

nlohmann::json measure(const BenchOptions& options, Context& context) {
  if (options.what == "step" || options.what == "score") return bench_model(options, context);
  if (options.what == "checkpoint") {
    return checkpoint::bench_checkpoint(options.checkpoint, context.control);
  }
  if (options.what == "pack") {
    nlohmann::json result;
    context.control.on_first([&] { result = data::bench_pack(options.documents, options.seed); });
    result["bench"] = "pack";
    return result;
  }
  const auto group = context.runtime.make_group();
  if (options.what == "collectives") return comm::bench_collectives(*group, options.repeats);
  if (options.what == "data") {
    return data::bench_clean(options.examples, options.seed, context.control, *group);
  }
  const double flops = train::calibrate(*group);
  return {{"bench", "gemm"},
          {"ranks", group->size()},
          {"threads_per_rank", at::get_num_threads()},
          {"calibration_flops", flops}};
}

base::Exit run(const BenchOptions& options, Context& context) {
  context.console.line("{}", measure(options, context).dump(2));
  return base::Exit::kDone;
}

}  // namespace

Command bench_command() {
  auto options = std::make_shared<BenchOptions>();
  return {
      "bench", "measure, as JSON: step, score, collectives, gemm, checkpoint, pack, data",
      [options](CLI::App& parser) {
        parser
            .add_option("what", options->what,
                        "step, score (scoring against evaluation), collectives, gemm, checkpoint, "
                        "pack (the plan of packs) or data (cleaning)")
            ->check(CLI::IsMember(
                {"step", "score", "collectives", "gemm", "checkpoint", "pack", "data"}));
        parser.add_option("--steps", options->step.steps, "timed steps, of score turns")
            ->check(CLI::Range(1, 1000));
        parser.add_option("--packs", options->step.packs, "packs per step over all ranks")
            ->check(CLI::Range(int64_t{1}, kMost));
        parser
            .add_option("--micro-packs", options->step.micro_packs,
                        "packs per rank and micro-batch")
            ->check(CLI::Range(int64_t{1}, kMost));
        parser
            .add_option("--layers", options->step.layers,
                        "of step and score: blocks, else the shape's")
            ->check(CLI::Range(1, 1000));
        parser.add_option("--layout", options->layout,
                          "of step and score: replicate x shard x tensor, such as 1x2x1");
        parser
            .add_option("--zero", options->step.model.state.zero, "of step and score: ZeRO stage")
            ->check(CLI::Range(0, 3));
        parser
            .add_option("--lanes", options->step.model.state.lanes,
                        "of step: reproducible, in so many lanes (0: not)")
            ->check(CLI::IsMember({0, 1, 2, 4, 8, 16, 32, 64}));
        parser.add_flag("--bf16-exchange", options->step.model.state.bf16_exchange,
                        "of step: gradients go to other ranks as bfloat16");
        parser.add_option("--device", options->device, "of step and score: auto, cpu or cuda")
            ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
        parser
            .add_option("--precision", options->precision, "of step and score: auto, fp32 or bf16")
            ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
        parser.add_option("--moments", options->moments, "of step: fp32 or bf16")
            ->check(CLI::IsMember({"fp32", "bf16"}));
        parser.add_option(
            "--shape", options->step.shape,
            "of step and score: small, llama-3.2-1b, llama-3.1-8b, qwen2.5-0.5b, qwen2.5-1.5b, "
            "qwen2.5-7b");
        parser
            .add_option("--seq-len", options->step.seq_len, "of step and score: tokens of a pack")
            ->check(CLI::Range(int64_t{2}, kMost));
        parser.add_option("--document", options->step.document,
                          "of step and score: tokens of a document");
        parser
            .add_option("--train-every", options->step.train_every,
                        "of step: every so many-th position is trained on")
            ->check(CLI::Range(int64_t{1}, kMost));
        parser.add_option("--recompute", options->recompute, "of step")
            ->check(CLI::IsMember({"none", "norms", "attention", "block"}));
        parser.add_option("--repeats", options->repeats, "of collectives: timed calls")
            ->check(CLI::Range(1, 10000));
        parser.add_option("--folder", options->checkpoint.folder,
                          "of checkpoint: where, on the disk to be measured");
        parser.add_option("--bytes", options->checkpoint.bytes, "of checkpoint: to be saved")
            ->check(CLI::Range(int64_t{50'000'000}, int64_t{1'000'000'000'000}));
        parser.add_option("--saves", options->checkpoint.repeats, "of checkpoint: timed saves")
            ->check(CLI::Range(1, 1000));
        parser
            .add_option("--ranks-per-shard", options->checkpoint.ranks_per_shard,
                        "of checkpoint: neighbouring ranks that share a file")
            ->check(CLI::Range(1, 1000000));
        parser.add_option("--examples", options->examples, "of data: examples to clean")
            ->check(CLI::Range(int64_t{1}, kMostDocuments));
        parser.add_option("--documents", options->documents, "documents of bench pack")
            ->check(CLI::Range(int64_t{1}, kMostDocuments));
        parser.add_option("--seed", options->seed, "seed of bench pack");
      },
      [options](Context& context) { return run(*options, context); }};
}

}  // namespace rondo::app

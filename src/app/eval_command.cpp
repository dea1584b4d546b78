// rondo eval CONFIG [--from PATH]: held-out losses of a model.
#include <filesystem>
#include <memory>

#include "app/command.hpp"
#include "app/compute_group.hpp"
#include "app/config_options.hpp"
#include "data/packed_set.hpp"
#include "train/evaluation.hpp"
#include "train/memory.hpp"
#include "train/model_source.hpp"
#include "train/run_data.hpp"
#include "train/run_folder.hpp"
#include "train/saver.hpp"
#include "train/weight_source.hpp"

namespace rondo::app {

namespace {

struct EvalOptions : ConfigOptions {
  std::string from;
};

// What to evaluate: --from, else the run's newest checkpoint.
std::string model_path(const EvalOptions& options, const train::Config& config,
                       comm::Control& control) {
  if (!options.from.empty()) return options.from;
  std::string path;
  control.on_first([&] {
    const std::string folder = config.run_folder() + "/checkpoints";
    for (const auto& listed : checkpoint::list(folder)) {
      if (listed.damage.empty() && path.empty()) path = folder + "/" + listed.name;
    }
    if (path.empty()) {
      base::fail_user("{} holds no checkpoint; name a model by --from.", folder);
    }
  });
  return control.broadcast_text(path);
}

base::Exit run(const EvalOptions& options, Context& context) {
  auto& control = context.control;
  train::Config config = options.read(control);
  if (options.check_ranks > 0) return base::Exit::kDone;
  const std::string path = model_path(options, config, control);
  const model::Shape shape = train::read_shape(path, control);
  train::RunData data;
  control.agree([&] { data = train::plan_data(config, shape.vocab); });
  control.on_first([&] { train::check_fresh(config, data); });
  data.rounds.clear();
  data.heldout_inside.clear();
  if (data.heldout.empty()) base::fail_user("{}: no source has held-out examples.", config.place);
  const train::ChosenDevice device = train::choose_device(config, context.runtime.host(), control);
  const auto group = compute_group(device, context);
  train::ensure_packed(data.all(), control, *group, context.console);
  std::vector<std::unique_ptr<data::PackedSet>> sets;
  std::vector<train::Evaluator::Heldout> heldout;
  control.agree([&] {
    for (const auto& entry : data.heldout) {
      sets.push_back(std::make_unique<data::PackedSet>(
          data::PackedSet::open(entry.request.out_folder, shape.vocab)));
      heldout.push_back({entry.source, sets.back().get()});
    }
  });
  context.console.line("evaluating {} on {}, {}", path, device.name.empty() ? "CPU" : device.name,
                       config.precision);
  parallel::Mesh mesh(*group);
  model::Model model(shape, mesh,
                     {.state = train::computing(config.device, config.precision, config.moments),
                      .recompute = {}});
  train::load_weights(path, model, train::Rows::kSame, control, context.console);
  train::Stepper stepper(model, control);
  const train::Evaluator evaluator(heldout, train::average_of(config), 1, *group, control);
  train::ForgettingMatrix matrix;
  matrix.set(std::filesystem::path(path).filename().string(), *evaluator.evaluate(stepper));
  matrix.print(context.console);
  context.console.line("{}", matrix.to_json().dump());
  return base::Exit::kDone;
}

}  // namespace

Command eval_command() {
  auto options = std::make_shared<EvalOptions>();
  return {"eval", "held-out losses of a checkpoint or Hugging Face folder",
          [options](CLI::App& parser) {
            options->declare(parser);
            parser.add_option("--from", options->from,
                              "checkpoint or Hugging Face folder (default: the run's newest)");
          },
          [options](Context& context) { return run(*options, context); }};
}

}  // namespace rondo::app

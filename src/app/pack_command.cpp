// rondo pack CONFIG: packs every round's data and every held-out set, and reports on them.
#include <memory>

#include "app/command.hpp"
#include "app/config_options.hpp"
#include "app/version.hpp"
#include "train/base_model.hpp"
#include "train/run_data.hpp"
#include "train/run_folder.hpp"

namespace rondo::app {

namespace {

base::Exit run(const ConfigOptions& options, Context& context) {
  auto& control = context.control;
  const train::Config config = options.read(control);
  const int64_t vocab = train::base_shape(config, control).vocab;
  if (options.check_ranks > 0) return base::Exit::kDone;
  std::unique_ptr<train::RunFolder> folder;
  control.on_first([&] { folder = std::make_unique<train::RunFolder>(config, context.console); });
  train::RunData data;
  control.agree([&] { data = train::plan_data(config, vocab); });
  control.on_first([&] { train::check_fresh(config, data); });
  const auto group = context.runtime.make_group();
  train::ensure_packed(data.all(), control, *group, context.console);
  control.on_first([&] { folder->keep(config); });
  context.console.line("packed sets of {} are up to date", config.run_folder());
  return base::Exit::kDone;
}

}  // namespace

Command pack_command() {
  auto options = std::make_shared<ConfigOptions>();
  return {"pack", "pack the tokenised data of a configuration and report on it",
          [options](CLI::App& parser) { options->declare(parser); },
          [options](Context& context) { return run(*options, context); }};
}

}  // namespace rondo::app

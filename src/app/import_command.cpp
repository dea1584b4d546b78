// rondo import: Hugging Face folder -> checkpoint of its weights.
#include <c10/core/InferenceMode.h>

#include <filesystem>
#include <memory>

#include "app/command.hpp"
#include "base/units.hpp"
#include "checkpoint/checkpoint.hpp"
#include "model/hf_folder.hpp"
#include "train/model_source.hpp"
#include "train/weight_source.hpp"

namespace rondo::app {
namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  std::string from, out;
};

base::Exit run(const ImportOptions& options, Context& context) {
  const c10::InferenceMode guard;
  comm::Control& control = context.control;
  // "a/b/" names b as well as "a/b" does.
  fs::path out = fs::path(options.out).lexically_normal();
  if (!out.has_filename()) out = out.parent_path();
  control.on_first([&] {
    if (train::is_checkpoint(options.from)) {
      base::fail_user("{}: is a checkpoint of rondo already; a Hugging Face folder was expected.",
                      options.from);
    }
    if (fs::exists(out)) {
      base::fail_user("{}: exists already and is never overwritten. Choose another name.",
                      out.string());
    }
  });
  const model::Shape shape = train::read_shape(options.from, control);
  context.console.line("import: {} ({} parameters) to {}", options.from,
                       base::format_count(static_cast<double>(shape.parameters())), out.string());

  const auto group = context.runtime.make_group();
  model::Model model(shape, *group, false);
  train::load_weights(options.from, model, train::Rows::kSame, control, context.console);

  checkpoint::SaveRequest request;
  request.folder = out.has_parent_path() ? out.parent_path().string() : ".";
  request.name = out.filename().string();
  request.tensors = train::logical_tensors(model, false);
  request.pieces = train::ModelOnHost(model, false).pieces();
  control.on_first([&] {
    const std::string config =
        model::write_hf_config(shape, model::read_special_ids(options.from, {}), "float32");
    request.state = {{"model_config", config},
                     {"tokenizer", fs::absolute(options.from).lexically_normal().string()},
                     {"end_of_turn", nlohmann::json::array()},
                     {"chat_template", ""},
                     {"imported_from", options.from}};
  });
  const checkpoint::SaveResult result = checkpoint::save(request, control);
  context.console.line("import: {} is complete: {}, digest {}", result.path,
                       base::format_bytes(result.bytes), result.digest);
  return base::Exit::kDone;
}

}  // namespace

Command import_command() {
  const auto options = std::make_shared<ImportOptions>();
  Command command{"import", "Hugging Face folder to checkpoint (weights alone).", {}, {}};
  command.declare = [options](CLI::App& app) {
    app.add_option("--from", options->from, "Hugging Face model folder")->required();
    app.add_option("--out", options->out, "checkpoint to make, as FOLDER/NAME")->required();
  };
  command.run = [options](Context& context) { return run(*options, context); };
  return command;
}

}  // namespace rondo::app

// rondo export: checkpoint -> Hugging Face folder.
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <filesystem>
#include <map>
#include <memory>

#include "app/command.hpp"
#include "base/units.hpp"
#include "checkpoint/checkpoint.hpp"
#include "model/hf_folder.hpp"
#include "train/model_source.hpp"

namespace rondo::app {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;

struct ExportCommandOptions {
  std::string from, out, tokenizer;
  std::string dtype = "fp32";
};

const std::map<std::string, model::ExportType> kTypes = {{"fp32", model::ExportType::kFp32},
                                                         {"bf16", model::ExportType::kBf16},
                                                         {"fp16", model::ExportType::kFp16}};

void check_from(const std::string& from) {
  if (train::is_checkpoint(from)) return;
  // A run folder, or its folder of checkpoints.
  for (const std::string& folder : {from + "/checkpoints", from}) {
    for (const checkpoint::Listed& listed : checkpoint::list(folder)) {
      if (listed.damage.empty()) {
        base::fail_user("{}: is a folder of checkpoints, not one. Take one, such as {}/{}.", from,
                        folder, listed.name);
      }
    }
  }
  base::fail_user("{}: {}; a checkpoint of rondo was expected (a folder with MANIFEST.json).", from,
                  fs::exists(from) ? "is not a checkpoint" : "does not exist");
}

// Folder whose tokenizer files go with the model; "" with a warning when there is none.
std::string tokenizer_folder(const ExportCommandOptions& options, const nlohmann::json& state,
                             base::Console& console) {
  const bool given = !options.tokenizer.empty();
  const std::string folder = given ? options.tokenizer : state.value("tokenizer", "");
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"}) {
    if (!folder.empty() && fs::exists(fs::path(folder) / name)) return folder;
  }
  if (given) base::fail_user("{}: holds no tokenizer (such as tokenizer.json).", folder);
  console.warn("exported without a tokenizer: {}. Give its folder with --tokenizer.",
               folder.empty() ? "the checkpoint names none"
                              : fmt::format("the checkpoint names {}, which holds none", folder));
  return "";
}

base::Exit run(const ExportCommandOptions& options, Context& context) {
  const c10::InferenceMode guard;
  comm::Control& control = context.control;
  control.on_first([&] { check_from(options.from); });
  const model::Shape shape = train::read_shape(options.from, control);
  context.console.line("export: {} ({} parameters) to {} as {}", options.from,
                       base::format_count(static_cast<double>(shape.parameters())), options.out,
                       options.dtype);
  const Checkpoint source = Checkpoint::open(options.from, control, checkpoint::Verify::kFull);
  control.on_first([&] {
    model::ExportOptions target;
    target.target = options.out;
    target.type = kTypes.at(options.dtype);
    target.tokenizer_folder = tokenizer_folder(options, source.state(), context.console);
    target.end_of_turn = source.state().value("end_of_turn", std::vector<int64_t>{});
    target.chat_template = source.state().value("chat_template", "");
    model::export_hf(shape, target, [&](const parallel::Parameter& parameter) {
      at::Tensor values = at::empty(parameter.shape, at::kFloat);
      if (source.tensor(parameter.name).shape != parameter.shape) {
        base::fail_user("{}: {} has another shape than the model's.", source.path(),
                        parameter.name);
      }
      source.read(parameter.name, base::Slice{0, parameter.numel()},
                  values.mutable_data_ptr<float>());
      return values;
    });
  });
  context.console.line("export: {} is complete", options.out);
  return base::Exit::kDone;
}

}  // namespace

Command export_command() {
  const auto options = std::make_shared<ExportCommandOptions>();
  Command command{"export", "Checkpoint to Hugging Face folder.", {}, {}};
  command.declare = [options](CLI::App& app) {
    app.add_option("--from", options->from, "checkpoint, such as runs/NAME/checkpoints/STEP")
        ->required();
    app.add_option("--out", options->out, "folder to make; it must not exist")->required();
    app.add_option("--tokenizer", options->tokenizer,
                   "folder whose tokenizer files are copied; default: the checkpoint's");
    app.add_option("--dtype", options->dtype, "of the weights in the files")
        ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
        ->capture_default_str();
  };
  command.run = [options](Context& context) { return run(*options, context); };
  return command;
}

}  // namespace rondo::app

// rondo inspect: says what a file or folder is, checks it, prints its main figures.
#include <c10/core/InferenceMode.h>

#include <filesystem>
#include <memory>

#include "app/command.hpp"
#include "app/inspect.hpp"
#include "checkpoint/checkpoint.hpp"
#include "data/generated.hpp"
#include "data/packed_format.hpp"
#include "data/scores_file.hpp"
#include "data/tokenized.hpp"
#include "storage/hdf5.hpp"

namespace rondo::app {
namespace {

namespace fs = std::filesystem;

using Inspector = void (*)(const InspectRequest&, base::Console&);

Inspector inspector_of_folder(const std::string& path) {
  const auto holds = [&](const char* name) { return fs::exists(fs::path(path) / name); };
  if (holds("MANIFEST.json")) return inspect_checkpoint;
  if (holds("plan.json")) return inspect_packed;
  if (holds("config.json")) return inspect_hf_folder;
  if (holds("checkpoints") || holds("ledger.jsonl") || !checkpoint::list(path).empty()) {
    return inspect_run;
  }
  base::fail_user(
      "{}: nothing is known of this folder. Known are: a checkpoint (MANIFEST.json), a packed set "
      "(plan.json), a Hugging Face model (config.json), a run (checkpoints, ledger.jsonl).",
      path);
}

Inspector inspector_of_file(const std::string& path) {
  if (fs::path(path).extension() == ".safetensors") return inspect_safetensors;
  const auto file = storage::Hdf5File::open_read(path);
  const std::string format = file.has_attribute("format") ? file.text_attribute("format") : "";
  if (format == data::kTokenizedFormat) return inspect_tokenized;
  if (format == data::kGeneratedFormat) return inspect_generated;
  if (format == data::kScoresFormat) return inspect_scores;
  if (format == data::kPackedFormat) {
    base::fail_user("{}: is a shard of a packed set. Inspect its folder.", path);
  }
  base::fail_user(
      "{}: is HDF5 {}. Known are {}, {} and {}; of a checkpoint or a packed set inspect the "
      "folder.",
      path, format.empty() ? "without a format attribute" : fmt::format("of format {}", format),
      data::kTokenizedFormat, data::kGeneratedFormat, data::kScoresFormat);
}

Inspector inspector_of(const std::string& path) {
  if (!fs::exists(path)) base::fail_user("{}: there is no such file or folder.", path);
  return fs::is_directory(path) ? inspector_of_folder(path) : inspector_of_file(path);
}

void inspect(const InspectRequest& request, base::Console& console) {
  const Inspector inspector = inspector_of(request.path);
  const bool has_examples = inspector == inspect_tokenized || inspector == inspect_packed ||
                            inspector == inspect_generated;
  if (request.example && !has_examples) {
    base::fail_user("{}: --example is for tokenised and generated files and packed sets alone.",
                    request.path);
  }
  inspector(request, console);
}

}  // namespace

Command inspect_command() {
  const auto request = std::make_shared<InspectRequest>();
  Command command{"inspect", "Says what a file or folder is and checks it.", {}, {}};
  command.declare = [request](CLI::App& app) {
    app.add_option("path", request->path,
                   "checkpoint, run, Hugging Face or packed folder; tokenised, generated, "
                   "scores or safetensors file")
        ->required();
    app.add_option("--example", request->example,
                   "print tokens and weights of this example (of a packed set: pack), from 0");
    app.add_option("--tokenizer", request->tokenizer,
                   "folder of the tokenizer, to print the text of the tokens too");
    app.add_flag("--verify", request->verify, "read and check every byte");
  };
  command.run = [request](Context& context) {
    const c10::InferenceMode guard;
    context.control.on_first([&] { inspect(*request, context.console); });
    return base::Exit::kDone;
  };
  return command;
}

}  // namespace rondo::app

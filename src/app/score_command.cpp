// rondo score: how well a model predicts each example of tokenised files, as columns beside them.
#include <c10/core/InferenceMode.h>
#include <fmt/ranges.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "app/command.hpp"
#include "app/compute_group.hpp"
#include "app/show_scores.hpp"
#include "base/clock.hpp"
#include "base/units.hpp"
#include "data/pack_inputs.hpp"
#include "data/scores_file.hpp"
#include "model/weights.hpp"
#include "storage/publish.hpp"
#include "train/model_source.hpp"
#include "train/scoring.hpp"
#include "train/weight_source.hpp"

namespace rondo::app {
namespace {

using Clock = std::chrono::steady_clock;

struct ScoreOptions {
  std::string from, out, prefix;
  std::vector<std::string> sources;
  train::ScoreSettings score;
  int tensor = 1;
  std::string device = "auto";
  std::string precision = "auto";

  std::string out_of(const std::string& source) const {
    return out.empty() ? data::scores_beside(source) : out;
  }
};

void check_options(const ScoreOptions& options, const model::Shape& shape, int ranks) {
  if (ranks % options.tensor != 0) {
    base::fail_user("score: --tensor {} does not divide the {} ranks. Start a multiple of {}.",
                    options.tensor, ranks, options.tensor);
  }
  model::check_tensor_size(shape, options.tensor, "score: --tensor");
  if (options.prefix.find_first_of("/.") != std::string::npos) {
    base::fail_user("score: --prefix '{}' begins the names of columns; give it without / and dots.",
                    options.prefix);
  }
}

// On one rank, before the work: what is written there later must be possible.
void check_outputs(const ScoreOptions& options) {
  for (const std::string& source : options.sources) {
    const std::string path = options.out_of(source);
    const auto folder = std::filesystem::path(path).parent_path();
    storage::check_writable(folder.empty() ? "." : folder.string());
    if (std::filesystem::exists(path)) data::read_scores(path);
  }
}

data::PackInputs open_sources(const ScoreOptions& options, int64_t vocab) {
  data::PackRequest request;
  request.sources = {{.name = "score", .files = options.sources}};
  request.vocab = vocab;
  return data::PackInputs::open(request);
}

nlohmann::json made_by(const ScoreOptions& options, const std::vector<std::string>& tokenised,
                       const std::string& digest, const std::string& precision) {
  return {{"model", options.from},
          {"model_digest", digest},
          {"tokenised", tokenised},
          {"settings",
           {{"precision", precision},
            {"tensor", options.tensor},
            {"tokens_per_batch", options.score.tokens_per_batch}}}};
}

// On one rank. One file of scores for each source, or one for all of them.
void write(const ScoreOptions& options, const data::PackInputs& inputs, const train::Scored& scored,
           const std::string& digest, const std::string& precision) {
  const auto write_columns = [&](const std::string& path, base::Slice examples,
                                 const std::vector<std::string>& tokenised) {
    std::vector<uint64_t> ids;
    for (int64_t i = examples.begin; i < examples.end; ++i) ids.push_back(inputs.example_id(i));
    data::ScoreColumns columns = train::columns_of(scored, examples.begin, std::move(ids),
                                                   options.prefix, options.score.alone);
    for (const auto& [name, values] : columns.values) {
      columns.made[name] = made_by(options, tokenised, digest, precision);
    }
    data::merge_scores(path, columns);
  };
  if (!options.out.empty()) {
    write_columns(options.out, {0, inputs.examples()}, options.sources);
    return;
  }
  int64_t first = 0;
  for (const data::TokenizedFile& file : inputs.files()) {
    write_columns(data::scores_beside(file.path()), {first, first + file.examples()},
                  {file.path()});
    first += file.examples();
  }
}

// Several times a second on a terminal, else every ten seconds.
auto progress_of(base::Console& console, Clock::time_point start) {
  return [&console, start, last = start](int64_t done, int64_t tokens) mutable {
    const double pause = console.interactive() ? 0.2 : 10;
    if (!console.active() || base::seconds_since(last) < pause) return;
    last = Clock::now();
    const double rate = static_cast<double>(done) / base::seconds_since(start);
    console.progress(fmt::format("score: {:.0f}%, {} tokens/s, {} left",
                                 100.0 * static_cast<double>(done) / static_cast<double>(tokens),
                                 base::format_count(rate),
                                 base::format_duration(static_cast<double>(tokens - done) / rate)));
  };
}

void warn_of_missing(base::Console& console, const train::Scored& scored, int64_t positions) {
  const auto warn = [&](int64_t count, const std::string& why) {
    if (count > 0) console.warn("{} examples have no score: {}.", count, why);
  };
  warn(scored.too_long,
       fmt::format("they have more tokens than the {} positions of the model", positions));
  warn(scored.untrained, "they have no trained token");
  warn(scored.not_finite, "their loss is not finite, so the model or its precision is at fault");
}

base::Exit run(const ScoreOptions& options, Context& context) {
  const c10::InferenceMode guard;
  comm::Control& control = context.control;
  const model::Shape shape = train::read_shape(options.from, control);
  std::optional<data::PackInputs> inputs;
  data::ScoreInput input;
  control.agree([&] {
    check_options(options, shape, control.size());
    inputs = open_sources(options, shape.vocab);
    input = data::score_input(*inputs);
  });
  control.on_first([&] { check_outputs(options); });
  train::WantedDevice wanted = {"score", options.device, options.precision};
  const train::ChosenDevice device = train::choose_device(wanted, context.runtime.host(), control);
  const auto group = compute_group(device, context);
  parallel::Mesh mesh(*group, {.shard = control.size() / options.tensor, .tensor = options.tensor});
  model::Model model(
      shape, mesh,
      {.state = train::computing(wanted.device, wanted.precision, "fp32"), .recompute = {}});
  context.console.line("score: {} ({} parameters), {} examples of {} on {} ranks, {}, {}",
                       options.from, base::format_count(static_cast<double>(shape.parameters())),
                       inputs->examples(), fmt::join(options.sources, ", "), control.size(),
                       device.name.empty() ? "CPU" : device.name, wanted.precision);
  train::load_weights(options.from, model, train::Rows::kSame, control, context.console);
  const std::string digest = train::digest_of(model, false);

  const Clock::time_point start = Clock::now();
  const auto scored = *train::score_examples(model, input, options.score, control,
                                             {.progress = progress_of(context.console, start)});
  const double seconds = base::seconds_since(start);
  control.on_first([&] {
    write(options, *inputs, scored, digest, wanted.precision);
    show_scores(train::columns_of(scored, 0, std::vector<uint64_t>(scored.examples.size()),
                                  options.prefix, options.score.alone),
                context.console);
  });
  warn_of_missing(context.console, scored, shape.max_seq);
  std::vector<std::string> written = {options.out};
  if (options.out.empty()) {
    written.clear();
    for (const auto& source : options.sources) written.push_back(options.out_of(source));
  }
  context.console.line("score: {} examples in {}, {} tokens/s, model digest {}",
                       scored.examples.size(), fmt::join(written, ", "),
                       base::format_count(static_cast<double>(scored.tokens) / seconds), digest);
  return base::Exit::kDone;
}

}  // namespace

Command score_command() {
  const auto options = std::make_shared<ScoreOptions>();
  Command command{"score", "loss, perplexity, accuracy and IFD of each example", {}, {}};
  command.declare = [options](CLI::App& app) {
    app.add_option("--from", options->from, "checkpoint or Hugging Face folder")->required();
    app.add_option("--source", options->sources, "tokenised files")->required();
    app.add_option("--out", options->out,
                   "file for the scores of all (default: x.scores.h5 beside each x.h5)");
    app.add_option("--prefix", options->prefix, "begin of the columns' names");
    app.add_flag("--ifd", options->score.alone,
                 "the loss of the answers without their prompt as well, and the ratio");
    app.add_option("--tokens-per-batch", options->score.tokens_per_batch,
                   "of a data-parallel rank; the longest example raises it")
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 30))
        ->capture_default_str();
    app.add_option("--tensor", options->tensor, "ranks that share each layer")
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
    app.add_option("--device", options->device, "auto, cpu or cuda")
        ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
    app.add_option("--precision", options->precision, "auto, fp32 or bf16")
        ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
  };
  command.run = [options](Context& context) { return run(*options, context); };
  return command;
}

}  // namespace rondo::app

// rondo generate: completions for the prompts of a tokenised file.
#include <c10/core/InferenceMode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/command.hpp"
#include "app/prompts.hpp"
#include "app/stop_ids.hpp"
#include "base/clock.hpp"
#include "base/units.hpp"
#include "data/generated.hpp"
#include "data/tokenized.hpp"
#include "generate/over_ranks.hpp"
#include "storage/publish.hpp"
#include "train/model_source.hpp"
#include "train/weight_source.hpp"

namespace rondo::app {
namespace {

using Clock = std::chrono::steady_clock;

struct GenerateOptions {
  std::string from, prompts, out;
  int64_t max_examples = 0;
  generate::Options generate;
};

std::string settings_json(const generate::Options& options, const model::Shape& shape) {
  return nlohmann::ordered_json{{"max_new_tokens", options.max_new_tokens},
                                {"temperature", options.sampling.temperature},
                                {"top_p", options.sampling.top_p},
                                {"top_k", options.sampling.top_k},
                                {"seed", options.sampling.seed},
                                {"stop_ids", options.stop_ids},
                                {"model_positions", shape.max_seq}}
      .dump();
}

void announce(base::Console& console, const GenerateOptions& options, const PromptFigures& figures,
              const generate::Generator& generator, const model::Shape& shape, int ranks) {
  const generate::Options& generate = options.generate;
  console.line("generate: {} ({} parameters), {} prompts of {} on {} rank{}", options.from,
               base::format_count(static_cast<double>(shape.parameters())), figures.count,
               options.prompts, ranks, ranks == 1 ? "" : "s");
  const std::string how = generate.sampling.greedy()
                              ? "greedy"
                              : fmt::format("temperature {}, top_p {}, top_k {}, seed {}",
                                            generate.sampling.temperature, generate.sampling.top_p,
                                            generate.sampling.top_k, generate.sampling.seed);
  console.line("  {}; at most {} new tokens; stops at {}", how, generate.max_new_tokens,
               generate.stop_ids.empty()
                   ? "nothing"
                   : fmt::format("id {}", fmt::join(generate.stop_ids, ", ")));
  console.line("  {} slots of {} tokens, at most {} of cache on each rank", generate.slots,
               generator.slot_tokens(figures.longest),
               base::format_bytes(generator.cache_bytes(figures.longest)));
  console.line("  writes {}{}", options.out,
               std::filesystem::exists(options.out) ? " (replaces the file that is there)" : "");
  if (generate.stop_ids.empty()) {
    console.warn(
        "neither the prompts nor the model name an end-of-turn id: every completion runs to its "
        "limit. Give one with --stop.");
  }
  if (figures.too_long > 0) {
    console.warn(
        "{} prompts fill all {} positions of the model: their completions are empty and not "
        "finished.",
        figures.too_long, shape.max_seq);
  }
}

// Tells of rank 0's part, several times a second on a terminal, else every ten seconds.
generate::Progress progress_of(base::Console& console, int64_t prompts, Clock::time_point start) {
  return [&console, prompts, start, last = start](int64_t done, int64_t tokens) mutable {
    const double pause = console.interactive() ? 0.2 : 10;
    if (!console.active() || base::seconds_since(last) < pause) return;
    last = Clock::now();
    console.progress(fmt::format("generate: {}/{} prompts of rank 0, {:.0f} tokens/s", done,
                                 prompts,
                                 static_cast<double>(tokens) / base::seconds_since(start)));
  };
}

base::Exit run(const GenerateOptions& given, Context& context) {
  const c10::InferenceMode guard;
  comm::Control& control = context.control;
  GenerateOptions options = given;
  control.agree([&] { options.generate.validate(); });

  const model::Shape shape = train::read_shape(options.from, control);
  std::optional<data::TokenizedFile> file;
  PromptFigures figures;
  control.agree([&] {
    file = data::TokenizedFile::open(options.prompts, shape.vocab);
    figures = look_at_prompts(*file, options.max_examples, shape);
  });
  control.on_first([&] {
    const auto folder = std::filesystem::path(options.out).parent_path();
    storage::check_writable(folder.empty() ? "." : folder.string());
  });
  if (options.generate.stop_ids.empty()) {
    options.generate.stop_ids =
        default_stop_ids(options.from, file->info().end_of_turn_id, shape, control);
  }

  const auto group = context.runtime.make_group();
  model::Model model(shape, *group, false);
  const generate::Generator generator(model, options.generate);
  announce(context.console, options, figures, generator, shape, control.size());
  train::load_weights(options.from, model, train::Rows::kSame, control, context.console);

  const Clock::time_point start = Clock::now();
  const int64_t mine = base::even_part(figures.count, control.size(), control.rank()).size();
  const auto completions = generate::complete_over_ranks(
      generator, figures.count, [&](base::Slice range) { return read_prompts(*file, range); },
      control, progress_of(context.console, mine, start));
  const double seconds = base::seconds_since(start);

  data::Generated generated;
  control.on_first([&] {
    generated.model = options.from;
    generated.prompts = options.prompts;
    generated.settings = settings_json(options.generate, shape);
    const std::vector<uint64_t> ids = file->example_ids();
    for (size_t i = 0; i < completions.size(); ++i) {
      generated.append(completions[i].tokens, ids.at(i), completions[i].finished);
    }
    data::write_generated(options.out, generated);
  });
  const int64_t finished = std::ranges::count(generated.finished, 1);
  const int64_t tokens = std::ssize(generated.tokens) + finished;
  context.console.line(
      "generate: {} completions in {}, {} finished, {} cut by a limit, {} tokens, {:.0f} tokens/s",
      generated.count(), options.out, finished, generated.count() - finished, tokens,
      static_cast<double>(tokens) / seconds);
  return base::Exit::kDone;
}

}  // namespace

Command generate_command() {
  const auto options = std::make_shared<GenerateOptions>();
  Command command{"generate", "Completions for tokenised prompts.", {}, {}};
  command.declare = [options](CLI::App& app) {
    generate::Options& generate = options->generate;
    app.add_option("--from", options->from, "Hugging Face model folder or checkpoint")->required();
    app.add_option("--prompts", options->prompts,
                   "tokenised file; the tokens before the first trained one are the prompt")
        ->required();
    app.add_option("--out", options->out, "file to write (docs/formats/generated.md)")->required();
    app.add_option("--max-new-tokens", generate.max_new_tokens, "of each completion")
        ->capture_default_str();
    app.add_option("--temperature", generate.sampling.temperature, "0: greedy")
        ->capture_default_str();
    app.add_option("--top-p", generate.sampling.top_p,
                   "choose among the likeliest tokens that reach this probability")
        ->capture_default_str();
    app.add_option("--top-k", generate.sampling.top_k, "choose among the k likeliest; 0: all")
        ->capture_default_str();
    app.add_option("--seed", generate.sampling.seed, "of the random numbers")
        ->capture_default_str();
    app.add_option("--slots", generate.slots, "sequences at a time on each rank")
        ->capture_default_str();
    app.add_option("--max-examples", options->max_examples, "the first N prompts; 0: all")
        ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
        ->capture_default_str();
    app.add_option("--stop", generate.stop_ids,
                   "ids that end a completion, in place of those that prompts and model name");
  };
  command.run = [options](Context& context) { return run(*options, context); };
  return command;
}

}  // namespace rondo::app

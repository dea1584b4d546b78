// rondo ledger RUN [OTHER]: what trained the models of a run, and whether its ledger is true.
#include <filesystem>
#include <memory>

#include "app/command.hpp"
#include "base/file.hpp"
#include "train/lineage.hpp"

namespace rondo::app {

namespace {

struct LedgerOptions {
  std::string run, other, of;
  bool json = false;
};

std::vector<train::LedgerLine> read_ledger(const std::string& run) {
  const std::string path = run + "/ledger.jsonl";
  if (!std::filesystem::exists(path)) {
    base::fail_user("{}: is not there. Give the run folder of a run that has finished a round.",
                    path);
  }
  return train::ledger_lines(base::read_text(path));
}

std::string figures_of(const nlohmann::json& model) {
  std::string text;
  for (const auto& score : model.value("heldout", nlohmann::json::array())) {
    if (!score.at("loss").is_number()) continue;
    text += fmt::format("  {} {:.4f}", score.at("source").get<std::string>(),
                        score.at("loss").get<double>());
    if (score.contains("exact_match")) {
      text += fmt::format(" ({:.1f}% right)", 100 * score["exact_match"].get<double>());
    }
  }
  return text;
}

void show_model(const nlohmann::json& model, int depth, base::Console& console) {
  const auto outcome = model.value("outcome", "kept");
  const auto attempt = model.value("attempt", int64_t{0});
  console.line("{}{}{}  {} steps, weights {}{}{}", std::string(2 * static_cast<size_t>(depth), ' '),
               model.value("round", "?"),
               attempt > 0 ? fmt::format(" (attempt {})", attempt + 1) : "",
               model.value("steps", int64_t{0}), model.value("weights_digest", "?"),
               outcome == "kept" ? "" : "  [" + outcome + "]", figures_of(model));
}

// Every model under the first one that it comes from.
void show_tree(const std::vector<nlohmann::json>& models, base::Console& console) {
  const auto first_parent = [](const nlohmann::json& model) -> std::string {
    for (const auto& parent : model.value("parents", nlohmann::json::array())) {
      return parent.value("name", "base");
    }
    return "base";
  };
  std::vector<std::string> roots;
  for (const auto& model : models) {
    const std::string parent = first_parent(model);
    const bool known = std::ranges::any_of(
        models, [&](const auto& other) { return other.value("round", "") == parent; });
    if (!known && std::ranges::find(roots, parent) == roots.end()) roots.push_back(parent);
  }
  const auto children = [&](const auto& self, const std::string& name, int depth) -> void {
    for (const auto& model : models) {
      if (first_parent(model) != name) continue;
      show_model(model, depth, console);
      const auto parents = model.value("parents", nlohmann::json::array());
      if (parents.size() > 1) {
        console.line("{}  of {}", std::string(2 * static_cast<size_t>(depth), ' '),
                     train::origin_in_words(model));
      }
      const auto outcome = model.value("outcome", "kept");
      if (outcome == "kept" || outcome == "ended") {
        self(self, model.value("round", "?"), depth + 1);
      }
    }
  };
  for (const std::string& root : roots) {
    console.line("{}", root);
    children(children, root, 1);
  }
}

// What trained one model.
void explain(const std::string& run, const nlohmann::json& model, base::Console& console) {
  const auto value = [&](const char* key) {
    const auto found = model.find(key);
    if (found == model.end()) return std::string("not told");
    return found->is_string() ? found->get<std::string>() : found->dump();
  };
  console.line("round {}: starts from {} (weights {})", value("round"),
               train::origin_in_words(model), value("start_digest"));
  console.line("  {} steps, seed {}, {} ranks, config {}, tokenizer {}, plan {}", value("steps"),
               value("seed"), value("ranks"), value("config_hash"), value("tokenizer_hash"),
               value("plan_hash"));
  for (const auto& input : model.value("inputs", nlohmann::json::array())) {
    console.line("  data {} (xxh3 {})", input.value("path", "?"), input.value("xxh3", "?"));
  }
  for (const auto& samples : model.value("samples", nlohmann::json::array())) {
    console.line("  samples {}: {} of {} completions right, by weights {}",
                 samples.value("source", "?"), samples.value("right", int64_t{0}),
                 samples.value("completions", int64_t{0}), samples.value("model", "?"));
  }
  console.line("  gives weights {}, {}, by rondo {}", value("weights_digest"), value("outcome"),
               value("version"));
  console.line("  again: launch/rounds -n {} {}/config.yaml run.name=NEW_NAME", value("ranks"),
               run);
}

// Called on one rank. The exit code.
base::Exit tell(const LedgerOptions& options, base::Console& console) {
  const auto lines = read_ledger(options.run);
  if (!options.other.empty()) {
    const std::string difference = train::first_difference(lines, read_ledger(options.other));
    console.line("{}", difference.empty() ? "both ledgers have the same content" : difference);
    return difference.empty() ? base::Exit::kDone : base::Exit::kUser;
  }
  const auto models = train::models_of(lines);
  const train::LedgerCheck check = train::check_ledger(options.run, lines);
  if (options.json) {
    console.line(
        "{}",
        nlohmann::json{{"models", models}, {"wrong", check.wrong}, {"gone", check.gone}}.dump());
  } else if (!options.of.empty()) {
    const auto model = train::find_model(models, options.of);
    if (!model) {
      base::fail_user("{}: has no round, and no digest of weights, '{}'.", options.run, options.of);
    }
    for (const auto& one : train::ancestors(models, *model)) explain(options.run, one, console);
  } else {
    show_tree(models, console);
  }
  for (const std::string& text : check.gone) {
    if (!options.json) console.line("not checked: {}", text);
  }
  for (const std::string& text : check.wrong) console.warn("{}: {}", options.run, text);
  return check.wrong.empty() ? base::Exit::kDone : base::Exit::kUser;
}

base::Exit run(const LedgerOptions& options, Context& context) {
  base::Exit end = base::Exit::kDone;
  context.control.on_first([&] {
    try {
      end = tell(options, context.console);
    } catch (const nlohmann::json::exception& error) {
      base::fail_user("{}/ledger.jsonl: a line is not as rondo writes it ({}).", options.run,
                      error.what());
    }
  });
  return context.control.any_true(end != base::Exit::kDone) ? base::Exit::kUser : base::Exit::kDone;
}

}  // namespace

Command ledger_command() {
  const auto options = std::make_shared<LedgerOptions>();
  Command command{"ledger", "what trained the models of a run, and whether that is true", {}, {}};
  command.declare = [options](CLI::App& app) {
    app.add_option("run", options->run, "run folder")->required();
    app.add_option("other", options->other, "another one: where the two part");
    app.add_option("--of", options->of, "round or digest of weights: all that went into it");
    app.add_flag("--json", options->json, "one JSON object in place of words");
  };
  command.run = [options](Context& context) { return run(*options, context); };
  return command;
}

}  // namespace rondo::app

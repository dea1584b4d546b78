#include "train/config.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"
#include "train/config_fields.hpp"

namespace rondo::train {

namespace {

// Names of sources and rounds become folders, and keys of files that others read.
bool is_plain_name(const std::string& name) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !name.empty() && !name.starts_with('.') &&
         name.find_first_not_of(kPlain) == std::string::npos;
}

// What fields alone cannot say: names that must exist, choices that exclude each other.
void check_sources(const Config& config, base::Problems& problems) {
  for (const auto& [name, source] : config.sources) {
    const std::string who = fmt::format("{}: sources.{}", source.place, name);
    const auto say = [&](const std::string& text) { problems.add(who + ": " + text); };
    if (!is_plain_name(name)) {
      say("a source's name becomes a folder's: use letters, digits, '-', '_' and '.'.");
    }
    if (source.train.paths.empty() && !source.heldout.given()) {
      say("has neither `train` nor `heldout`; give one of them.");
    }
    if (source.heldout.split > 0 && source.train.paths.empty()) {
      say("`heldout: {split: N}` takes examples from `train`, which is missing.");
    }
  }
}

void check_round(const Config& config, size_t i, base::Problems& problems) {
  const RoundSection& round = config.rounds[i];
  const auto say = [&](const std::string& text) {
    problems.add(fmt::format("{}: rounds[{}] ({}): {}", round.place, i, round.name, text));
  };
  if (!is_plain_name(round.name)) {
    say("a round's name becomes a folder's: use letters, digits, '-', '_' and '.'.");
  }
  if (round.name == "base") {
    say("'base' is the base model's row in the table of held-out losses; use another name.");
  }
  if (round.data.empty()) say("has no `data`; name at least one source, as `data: {NAME: 1.0}`.");
  for (const auto& [name, passes] : round.data) {
    const SourceSection* found = nullptr;
    for (const auto& [known, source] : config.sources) {
      if (known == name) found = &source;
    }
    if (found == nullptr) {
      std::vector<std::string> names;
      for (const auto& entry : config.sources) names.push_back(entry.first);
      const auto near = base::nearest_name(name, names);
      say(fmt::format("data.{}: there is no such source.{}", name,
                      near.empty() ? "" : " Did you mean '" + near + "'?"));
    } else if (found->train.paths.empty()) {
      say(fmt::format("data.{}: this source has no `train` files, it is only watched.", name));
    }
  }
  const int lengths = (round.epochs ? 1 : 0) + (round.steps ? 1 : 0) + (round.tokens ? 1 : 0);
  if (lengths > 1) say("give only one of `epochs`, `steps`, `tokens`.");
  if (i == 0 && round.init.kind == Init::Kind::kPrevious) {
    say("`init: previous` in the first round; there is none before it. Use base.");
  }
  if (i == 0 && round.optimizer_state == "carry") {
    say("`optimizer_state: carry` in the first round; there is nothing to carry. Use reset.");
  }
  if (i > 0 && round.optimizer_state == "carry" && round.init.kind != Init::Kind::kPrevious) {
    say("`optimizer_state: carry` needs `init: previous`: moments belong to the weights.");
  }
  if (round.optimizer.value.betas.size() != 2) say("optimizer.betas must be two numbers.");
  if (round.gate) {
    const std::string& on = round.gate->on;
    bool found = false;
    for (const auto& [name, source] : config.sources) {
      found = found || (name == on && source.heldout.given());
    }
    if (!found) say(fmt::format("gate.on: '{}' is not a source with held-out examples.", on));
  }
}

void check_whole(const Config& config, base::Problems& problems) {
  if (config.model.from.has_value() == config.model.shape.has_value()) {
    problems.add(
        fmt::format("{}: model: give either `from` (a Hugging Face folder or checkpoint) "
                    "or `shape` (a new model), {}.",
                    config.model.place, config.model.from ? "not both" : "one is missing"));
  }
  if (config.model.shape && !config.model.vocab.automatic()) {
    problems.add(
        fmt::format("{}: model.vocab is for a model that is read (`from`); a new one has "
                    "shape.vocab.",
                    config.model.place));
  }
  if (config.rounds.empty()) {
    problems.add(fmt::format("{}: rounds: at least one round is needed.", config.place));
  }
  if (config.run.name.find('/') != std::string::npos || config.run.name.starts_with('.')) {
    problems.add(
        fmt::format("{}: run.name: '{}' must be a plain folder name (no '/', no leading "
                    "dot); the place is run.dir.",
                    config.place, config.run.name));
  }
  std::set<std::string> names;
  for (size_t i = 0; i < config.rounds.size(); ++i) {
    if (!names.insert(config.rounds[i].name).second) {
      problems.add(fmt::format("{}: rounds[{}]: the name '{}' is taken by an earlier round.",
                               config.rounds[i].place, i, config.rounds[i].name));
    }
    check_round(config, i, problems);
  }
  check_sources(config, problems);
}

base::ConfigReference reference_of_all() {
  Config config;
  config.model.shape = ShapeSection{};
  base::ConfigReference reference;
  describe(reference, config);
  return reference;
}

}  // namespace

const SourceSection& Config::source(const std::string& name) const {
  for (const auto& [known, section] : sources) {
    if (known == name) return section;
  }
  throw base::Bug("no source " + name);
}

std::string Config::tokenizer_folder() const {
  if (tokenizer) return *tokenizer;
  return model.from.value_or("");
}

Config read_config(const std::string& path, const std::vector<std::string>& overrides) {
  base::Problems problems;
  problems.known_keys = reference_of_all().keys();
  base::YamlNode node = base::parse_yaml(base::read_text(path), path, problems);
  for (const auto& assignment : overrides) base::apply_override(node, assignment, problems);
  if (node.kind != base::YamlNode::Kind::kMap) {
    base::fail_user(
        "{}: a configuration is a map with the keys run, model, sources and rounds, found {}. "
        "Start from an example in configs/; docs/configuration.md lists all keys.",
        node.place, node.described());
  }
  Config config;
  base::ConfigReader::read(node, config, "", base::Field{}, problems);
  config.place = path;
  if (!config.rounds.empty()) {
    const base::YamlNode* rounds = node.find("rounds");
    const bool first_says =
        rounds != nullptr && !rounds->items.empty() && rounds->items[0].find("init") != nullptr;
    if (!first_says) config.rounds[0].init.kind = Init::Kind::kBase;
  }
  for (RoundSection& round : config.rounds) {
    round.batch.resolve(config.batch);
    round.optimizer.resolve(config.optimizer);
    round.schedule.resolve(config.schedule);
    round.evaluate.resolve(config.evaluate);
  }
  // Later checks would only repeat what a wrong field already caused.
  problems.throw_if_any();
  check_whole(config, problems);
  problems.throw_if_any();
  return config;
}

void check_ranks(const Config& config, int ranks) {
  base::Problems problems;
  if (!config.parallel.shard.automatic() && config.parallel.shard.value != ranks) {
    problems.add(fmt::format(
        "{}: parallel.shard is {}, but there are {} ranks and this version shards over all of "
        "them. Use shard: auto, or start {} ranks.",
        config.place, config.parallel.shard.value, ranks, config.parallel.shard.value));
  }
  for (size_t i = 0; i < config.rounds.size(); ++i) {
    const BatchSection& batch = config.rounds[i].batch.value;
    const int64_t micro = batch.micro_packs.automatic() ? 1 : batch.micro_packs.value;
    if (batch.packs % (ranks * micro) == 0) continue;
    const int64_t quantum = ranks * micro;
    const int64_t below = batch.packs / quantum * quantum;
    const std::string choices =
        below > 0 ? fmt::format("{} or {}", below, below + quantum) : fmt::format("{}", quantum);
    problems.add(fmt::format(
        "{}: rounds[{}] ({}): batch.packs = {} does not divide over {} ranks with micro_packs = {} "
        "({} / ({} * {}) = {:.3f} micro-batches per rank). Use packs = {}, another micro_packs, or "
        "another number of ranks.",
        config.rounds[i].place, i, config.rounds[i].name, batch.packs, ranks, micro, batch.packs,
        ranks, micro, static_cast<double>(batch.packs) / static_cast<double>(quantum), choices));
  }
  problems.throw_if_any();
}

std::string resolved_yaml(Config config) {
  base::ConfigWriter writer;
  describe(writer, config);
  return writer.text();
}

std::string round_yaml(Config config, size_t i) {
  // Where and how often things are written changes no number.
  const RoundSection round = config.rounds.at(i);
  base::ConfigWriter writer;
  writer.write("seed", config.run.seed);
  writer.write("model", config.model);
  writer.write("precision", config.precision);
  writer.write("pack", config.pack);
  writer.write("loss", config.loss);
  RoundSection own = round;
  own.gate.reset();
  own.evaluate.value = EvaluateSection{};
  writer.write("round", own);
  const auto write_sources = [&](const RoundSection& of) {
    for (const auto& [name, passes] : of.data) {
      SourceSection source = config.source(name);
      writer.write("source." + name, source);
    }
  };
  write_sources(round);
  // Rounds that carry on from this one share its schedule: their lengths count.
  for (size_t k = i + 1; k < config.rounds.size() && config.rounds[k].optimizer_state == "carry";
       ++k) {
    RoundSection later = config.rounds[k];
    later.gate.reset();
    later.evaluate.value = EvaluateSection{};
    later.optimizer.value = OptimizerSection{};
    later.schedule.value = ScheduleSection{};
    writer.write("carried", later);
    write_sources(later);
  }
  return writer.text();
}

std::string configuration_reference() {
  return "| key | form | default | meaning |\n|---|---|---|---|\n" + reference_of_all().text();
}

}  // namespace rondo::train

#include "train/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "data/mix.hpp"
#include "train/config_fields.hpp"
#include "train/verifier.hpp"

namespace rondo::train {

namespace {

// Names of sources and rounds become folders, and keys of files that others read.
bool is_plain_name(const std::string& name) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !name.empty() && !name.starts_with('.') &&
         name.find_first_not_of(kPlain) == std::string::npos;
}

void check_pattern(const VerifySection& verify,
                   const std::function<void(const std::string&)>& say) {
  if (verify.how != "regex") return;
  try {
    const Verifier tried(verify);
  } catch (const base::UserError& error) {
    say(error.what());
  }
}

void check_samples(const Config& config, const SourceSection& source,
                   const std::function<void(const std::string&)>& say) {
  if (!source.train.paths.empty() || source.heldout.split > 0 || source.keep) {
    say("makes its examples by `samples`; take `train`, `heldout: {split: N}` and `keep` out.");
  }
  check_pattern(source.samples->verify, say);
  const std::string& prompts = source.samples->prompts;
  const auto found =
      std::ranges::find(config.sources, prompts, [](const auto& entry) { return entry.first; });
  if (found == config.sources.end() || found->second.train.paths.empty()) {
    say(fmt::format("samples.prompts: '{}' is not a source with `train` examples.", prompts));
  }
}

// What fields alone cannot say: names that must exist, choices that exclude each other.
void check_sources(const Config& config, base::Problems& problems) {
  for (const auto& [name, source] : config.sources) {
    const std::string who = fmt::format("{}: sources.{}", source.place, name);
    const auto say = [&](const std::string& text) { problems.add(who + ": " + text); };
    if (name == kReplay) say("'replay' stands for earlier rounds' sources; use another name.");
    if (!is_plain_name(name)) {
      say("a source's name becomes a folder's: use letters, digits, '-', '_' and '.'.");
    }
    if (source.samples) {
      check_samples(config, source, say);
    } else if (source.train.paths.empty() && !source.heldout.given()) {
      say("has neither `train` nor `heldout`; give one of them.");
    }
    check_pattern(source.verify, say);
    if (source.verify.how == "command") {
      say("verify: answers to held-out questions are judged inside: exact, numeric or regex.");
    }
    if (source.heldout.split > 0 && source.train.paths.empty()) {
      say("`heldout: {split: N}` takes examples from `train`, which is missing.");
    }
  }
}

// A name in `data` or `shares`.
void check_trained(const Config& config, size_t i, const std::string& key, const std::string& name,
                   const std::function<void(const std::string&)>& say) {
  if (name == kReplay) {
    if (i == 0) say(fmt::format("{}.replay: there is no earlier round.", key));
    return;
  }
  const SourceSection* found = nullptr;
  for (const auto& [known, source] : config.sources) {
    if (known == name) found = &source;
  }
  if (found == nullptr) {
    std::vector<std::string> names;
    for (const auto& entry : config.sources) names.push_back(entry.first);
    const auto near = base::nearest_name(name, names);
    say(fmt::format("{}.{}: there is no such source.{}", key, name,
                    near.empty() ? "" : " Did you mean '" + near + "'?"));
  } else if (found->train.paths.empty() && !found->samples) {
    say(fmt::format("{}.{}: this source has no `train` files, it is only watched.", key, name));
  }
}

void check_round_data(const Config& config, size_t i,
                      const std::function<void(const std::string&)>& say) {
  const RoundSection& round = config.rounds[i];
  if (!round.trains() && round.init.kind != Init::Kind::kMembers) {
    say("has no `data`; name at least one source, as `data: {NAME: 1.0}`.");
  }
  if (!round.trains() && (round.epochs || round.steps || round.tokens)) {
    say("has a length but no `data`; name at least one source, as `data: {NAME: 1.0}`.");
  }
  if (!round.data.empty() && !round.shares.empty()) {
    say("has both `data` (passes) and `shares`; give one of them.");
  }
  for (const auto& entry : round.data) check_trained(config, i, "data", entry.first, say);
  double given = 0;
  bool automatic = false;
  for (const auto& [name, share] : round.shares) {
    check_trained(config, i, "shares", name, say);
    given += share.value;
    automatic = automatic || share.value == 0;
  }
  if (automatic && !(given < 1 - data::kLeastLeft)) {
    say(
        fmt::format("shares: the numbers sum to {:g}, which leaves nothing to those that are auto; "
                    "let them sum to less than 1.",
                    given));
  }
}

// Keys that say something about shares, without any they could speak of; and `replay` of nothing.
void check_round_mix(const Config& config, size_t i,
                     const std::function<void(const std::string&)>& say) {
  const RoundSection& round = config.rounds[i];
  const bool automatic =
      std::ranges::any_of(round.shares, [](const auto& entry) { return entry.second.value == 0; });
  if (round.shares.empty() && round.by != RoundSection{}.by) say("`by` needs `shares`.");
  if (!automatic && round.temperature != RoundSection{}.temperature) {
    say("`temperature` needs `shares` of which some are auto.");
  }
  size_t key = 0;
  const auto check = [&](const std::string& name) {
    const auto trained = trained_sources(config, i);
    const bool found = std::ranges::find(trained, key, &TrainedSource::key) != trained.end();
    if (name == kReplay && i > 0 && !found) {
      say("replay: earlier rounds have no source that this round does not name itself.");
    }
    ++key;
  };
  for (const auto& entry : round.data) check(entry.first);
  for (const auto& entry : round.shares) check(entry.first);
}

bool has_heldout(const Config& config, const std::string& name) {
  return std::ranges::any_of(config.sources, [&](const auto& entry) {
    return entry.first == name && entry.second.heldout.given();
  });
}

std::optional<size_t> round_named(const Config& config, const std::string& name, size_t before) {
  for (size_t k = 0; k < before; ++k) {
    if (config.rounds[k].name == name) return k;
  }
  return {};
}

// The names of rounds before `i`, for a name that is none of them.
std::string no_such_round(const Config& config, size_t i, const std::string& name) {
  std::vector<std::string> names = {"base"};
  for (size_t k = 0; k < i; ++k) names.push_back(config.rounds[k].name);
  const std::string near = base::nearest_name(name, names);
  return fmt::format("'{}' is not a round before this one.{}", name,
                     near.empty() ? "" : " Did you mean '" + near + "'?");
}

void check_init(const Config& config, size_t i, const Init& init,
                const std::function<void(const std::string&)>& say) {
  if (init.kind == Init::Kind::kRound && !round_named(config, init.name, i)) {
    say("init.round: " + no_such_round(config, i, init.name));
  }
  if (init.kind != Init::Kind::kMembers) return;
  const Members& members = init.members;
  const std::string key = members.how == Members::How::kBest ? "init.best" : "init.average";
  if (members.of.empty()) say(key + ".of: name at least one model.");
  for (const std::string& name : members.of) {
    const bool path = name.find('/') != std::string::npos;
    if (path || name == "base" || round_named(config, name, i)) continue;
    say(fmt::format("{}.of: {} A path has a '/' in it.", key, no_such_round(config, i, name)));
  }
  if (members.how == Members::How::kWeights) {
    double sum = 0;
    for (const double weight : members.weights) sum += weight;
    if (members.weights.size() != members.of.size()) {
      say(fmt::format("{}.weights: {} numbers for {} models.", key, members.weights.size(),
                      members.of.size()));
    } else if (!std::isfinite(sum) || std::abs(sum) < 1e-9) {
      say(key + ".weights: their sum must not be 0.");
    }
  }
  if (members.judged() && members.on.empty()) {
    say(key + ".on is missing: the source whose held-out loss decides.");
  } else if (members.judged() && !has_heldout(config, members.on)) {
    say(fmt::format("{}.on: '{}' is not a source with held-out examples.", key, members.on));
  }
  if (!members.judged() && !members.on.empty()) {
    say(key + ".on is for weights: greedy, and for `best`.");
  }
}

void check_length(const RoundSection& round, const std::function<void(const std::string&)>& say) {
  const bool budget = round.tokens && !round.shares.empty();
  const int lengths = (round.epochs ? 1 : 0) + (round.steps ? 1 : 0) + (round.tokens && !budget);
  if (lengths > 1) say("give only one of `epochs`, `steps`, `tokens`.");
}

bool shares_schedule(const Config& config, size_t i) {
  return config.rounds[i].optimizer_state == "carry" ||
         (i + 1 < config.rounds.size() && config.rounds[i + 1].optimizer_state == "carry");
}

void check_figure(const Config& config, const GateSection& gate,
                  const std::function<void(const std::string&)>& say) {
  if (gate.on.empty() == gate.command.empty()) {
    say("gate: give either `on`, a source with held-out examples, or `command`.");
  } else if (!gate.command.empty()) {
    if ((!gate.min && !gate.max) || gate.max_loss_increase || gate.max_decrease) {
      say("gate: a figure of a command is bounded by `max` and `min` alone; give one of them.");
    }
    if (!config.exports.rounds) {
      say("gate.command needs the exported model; take `export.rounds: false` out.");
    }
  } else if (!has_heldout(config, gate.on)) {
    say(fmt::format("gate.on: '{}' is not a source with held-out examples.", gate.on));
  } else if (gate.figure != "loss" && gate.figure != "accuracy" && gate.figure != "exact_match") {
    say(fmt::format("gate.figure: '{}' is none of loss, accuracy and exact_match.", gate.figure));
  } else if (gate.figure != "loss" && !gate.min && !gate.max && !gate.max_decrease) {
    say(fmt::format("gate: give a bound of {}: min, max or max_decrease.", gate.figure));
  } else if (gate.figure == "exact_match" && config.evaluate.answers == 0) {
    say("gate.figure: exact_match needs evaluate.answers above 0.");
  }
}

// The sources of round `i` that are made when it begins.
void check_made(const Config& config, size_t i,
                const std::function<void(const std::string&)>& say) {
  for (const TrainedSource& trained : trained_sources(config, i)) {
    const auto found = std::ranges::find(config.sources, trained.name,
                                         [](const auto& entry) { return entry.first; });
    if (trained.replayed || found == config.sources.end() || !found->second.samples) continue;
    check_init(config, i, found->second.samples->by, [&](const std::string& text) {
      say(fmt::format("sources.{}.samples.by: {}", trained.name, text));
    });
    if (shares_schedule(config, i)) {
      say(
          fmt::format("'{}' is made when the round begins, so that its length is not known before: "
                      "it cannot share its schedule with another (optimizer_state: carry). Use "
                      "carry_moments.",
                      trained.name));
    }
  }
}

void check_gates(const Config& config, size_t i,
                 const std::function<void(const std::string&)>& say) {
  const RoundSection& round = config.rounds[i];
  bool undoes = false;
  bool retries = false;
  for (const GateSection& gate : round.gate) {
    check_figure(config, gate, say);
    if (gate.max_loss_increase && gate.figure != "loss") {
      say("gate.max_loss_increase is for `figure: loss`; of an accuracy give max_decrease.");
    }
    retries = retries || gate.otherwise == "retry";
    undoes = undoes || gate.otherwise == "retry" || gate.otherwise == "rollback";
  }
  if (retries && round.retry.empty()) {
    say("gate.otherwise is retry, and `retry` does not say with what; give a list, as "
        "`retry: [{optimizer: {lr: 1.0e-5}}]`.");
  }
  if (!retries && !round.retry.empty()) say("`retry` needs a gate with `otherwise: retry`.");
  if (undoes && shares_schedule(config, i)) {
    say("a round that a gate can undo (otherwise: rollback, retry) cannot share its schedule with "
        "another (optimizer_state: carry). Use carry_moments.");
  }
  for (size_t k = 0; k < round.retry.size(); ++k) {
    const RoundSection tried = attempt_of(round, static_cast<int64_t>(k) + 1);
    const auto say_of = [&](const std::string& text) {
      say(fmt::format("retry[{}]: {}", k, text));
    };
    Config with = config;
    with.rounds[i] = tried;
    check_round_data(with, i, say_of);
    check_round_mix(with, i, say_of);
    check_length(tried, say_of);
    check_made(with, i, say_of);
    if (tried.optimizer.value.betas.size() != 2) say_of("optimizer.betas must be two numbers.");
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
  check_round_data(config, i, say);
  check_round_mix(config, i, say);
  check_length(round, say);
  if (i == 0 && round.init.kind == Init::Kind::kPrevious) {
    say("`init: previous` in the first round; there is none before it. Use base.");
  }
  if (i == 0 && round.optimizer_state != "reset") {
    say(
        fmt::format("`optimizer_state: {}` in the first round; there is nothing to carry. Use "
                    "reset.",
                    round.optimizer_state));
  }
  if (i > 0 && round.optimizer_state != "reset" && round.init.kind != Init::Kind::kPrevious) {
    say(fmt::format("`optimizer_state: {}` needs `init: previous`: moments belong to the weights.",
                    round.optimizer_state));
  }
  if (round.optimizer.value.betas.size() != 2) say("optimizer.betas must be two numbers.");
  check_init(config, i, round.init, say);
  check_made(config, i, say);
  const EvaluateSection& own = round.evaluate.value;
  if (own.answers != config.evaluate.answers ||
      own.max_new_tokens != config.evaluate.max_new_tokens) {
    say("evaluate.answers and evaluate.max_new_tokens are the same for all rounds; give them in "
        "the global section.");
  }
  check_gates(config, i, say);
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

std::string Config::cache_folder() const { return run.dir + "/cache/" + run.name; }

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
    for (RetrySection& retry : round.retry) {
      retry.optimizer.resolve(round.optimizer.value);
      retry.schedule.resolve(round.schedule.value);
    }
  }
  // Later checks would only repeat what a wrong field already caused.
  problems.throw_if_any();
  check_whole(config, problems);
  problems.throw_if_any();
  return config;
}

std::string resolved_yaml(Config config) {
  base::ConfigWriter writer;
  describe(writer, config);
  return writer.text();
}

namespace {

// A round without what changes nothing of its result.
RoundSection computed(RoundSection round) {
  round.gate.clear();
  round.retry.clear();
  round.evaluate.value = EvaluateSection{};
  round.batch.value.read_ahead = AutoCount{};
  return round;
}

}  // namespace

std::string round_yaml(Config config, size_t i) {
  // Where and how often things are written changes no number.
  const RoundSection round = config.rounds.at(i);
  base::ConfigWriter writer;
  writer.write("seed", config.run.seed);
  writer.write("model", config.model);
  writer.write("precision", config.precision);
  if (config.moments != "fp32") writer.write("moments", config.moments);
  if (config.parallel.reproducible) {
    // What the same bits rest on; without it another layout is as good.
    writer.write("reduction_lanes", config.parallel.reduction_lanes);
    writer.write("tensor", config.parallel.tensor);
  }
  if (config.parallel.gradient_exchange != "fp32") {
    writer.write("gradient_exchange", config.parallel.gradient_exchange);
  }
  writer.write("pack", config.pack);
  writer.write("clean", config.clean);
  writer.write("loss", config.loss);
  RoundSection own = computed(round);
  writer.write("round", own);
  const auto write_sources = [&](size_t of) {
    for (const auto& trained : trained_sources(config, of)) {
      SourceSection source = config.source(trained.name);
      source.verify = SourceSection{}.verify;
      writer.write("source." + trained.name, source);
    }
  };
  write_sources(i);
  // Rounds that carry on from this one share its schedule: their lengths count.
  for (size_t k = i + 1; k < config.rounds.size() && config.rounds[k].optimizer_state == "carry";
       ++k) {
    RoundSection later = computed(config.rounds[k]);
    later.optimizer.value = OptimizerSection{};
    later.schedule.value = ScheduleSection{};
    writer.write("carried", later);
    write_sources(k);
  }
  return writer.text();
}

std::vector<TrainedSource> trained_sources(const Config& config, size_t i) {
  const auto keys_of = [&](size_t round) {
    std::vector<std::string> keys;
    for (const auto& entry : config.rounds.at(round).data) keys.push_back(entry.first);
    for (const auto& entry : config.rounds.at(round).shares) keys.push_back(entry.first);
    return keys;
  };
  const std::vector<std::string> own = keys_of(i);
  std::vector<TrainedSource> trained;
  for (size_t key = 0; key < own.size(); ++key) {
    if (own[key] != kReplay) {
      trained.push_back({own[key], key, false});
      continue;
    }
    std::set<std::string> earlier;
    for (size_t k = 0; k < i; ++k) {
      if (config.rounds[k].set_aside) continue;
      for (const std::string& name : keys_of(k)) earlier.insert(name);
    }
    for (const auto& [name, source] : config.sources) {
      if (earlier.contains(name) && std::ranges::find(own, name) == own.end()) {
        trained.push_back({name, key, true});
      }
    }
  }
  return trained;
}

size_t samples_round(const Config& config, size_t i, const std::string& source) {
  for (size_t k = i + 1; k-- > 0;) {
    if (k != i && config.rounds[k].set_aside) continue;
    for (const TrainedSource& trained : trained_sources(config, k)) {
      if (trained.name == source && !trained.replayed) return k;
    }
  }
  throw base::Bug("no round names source " + source);
}

bool given_before(const Config& config, size_t i) {
  return std::ranges::none_of(trained_sources(config, i), [&](const TrainedSource& trained) {
    return config.source(trained.name).samples.has_value();
  });
}

size_t plan_origin(const Config& config, size_t i) {
  // What decides which packs there are, and in which order they come.
  const auto plan = [&](size_t k) {
    RoundSection round = config.rounds.at(k);
    base::ConfigWriter writer;
    writer.write("data", round.data);
    writer.write("shares", round.shares);
    writer.write("by", round.by);
    writer.write("temperature", round.temperature);
    if (!round.shares.empty()) writer.write("tokens", round.tokens);
    writer.write("seed", round.seed);
    return writer.text();
  };
  const auto goes_on = [&](size_t k) {
    const RoundSection& round = config.rounds.at(k);
    if (round.optimizer_state != "carry") return false;
    const BatchSection& batch = round.batch.value;
    const BatchSection& before = config.rounds.at(k - 1).batch.value;
    const auto trained = trained_sources(config, k);
    return std::ranges::none_of(trained, &TrainedSource::replayed) &&
           batch.seq_len == before.seq_len && batch.packs == before.packs && plan(k) == plan(k - 1);
  };
  while (goes_on(i)) --i;
  return i;
}

uint64_t seed_of_round(const Config& config, size_t i) {
  const RoundSection& origin = config.rounds.at(plan_origin(config, i));
  if (origin.seed) return static_cast<uint64_t>(*origin.seed);
  // 63 bits, as files hold it as a signed number.
  return base::hash64(fmt::format("{}/{}", config.run.seed, origin.name)) >> 1;
}

std::optional<size_t> round_before(const Config& config, size_t i) {
  while (i-- > 0) {
    if (!config.rounds.at(i).set_aside) return i;
  }
  return {};
}

std::optional<size_t> round_after(const Config& config, std::optional<size_t> i) {
  for (size_t k = i ? *i + 1 : 0; k < config.rounds.size(); ++k) {
    if (!config.rounds[k].set_aside) return k;
  }
  return {};
}

RoundSection attempt_of(const RoundSection& round, int64_t attempt) {
  RoundSection tried = round;
  if (attempt == 0) return tried;
  const RetrySection& with = round.retry.at(static_cast<size_t>(attempt) - 1);
  if (!with.data.empty() || !with.shares.empty()) {
    tried.data = with.data;
    tried.shares = with.shares;
  }
  if (with.epochs || with.steps || with.tokens) {
    tried.epochs = with.epochs;
    tried.steps = with.steps;
    tried.tokens = with.tokens;
  }
  tried.optimizer.value = with.optimizer.value;
  tried.schedule.value = with.schedule.value;
  return tried;
}

std::string configuration_reference() {
  return "| key | form | default | meaning |\n|---|---|---|---|\n" + reference_of_all().text();
}

}  // namespace rondo::train

#include "train/round_start.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <limits>

#include "base/error.hpp"
#include "train/averaging.hpp"
#include "train/base_model.hpp"
#include "train/weight_source.hpp"

namespace rondo::train {

namespace {

WeightSource base_source(const Config& config, const model::Shape& shape, comm::Control& control) {
  if (!config.model.from) return WeightSource(static_cast<uint64_t>(config.run.seed));
  return {*config.model.from, shape, rows_of(config), control};
}

std::optional<size_t> find_round(const Config& config, const std::string& name) {
  for (size_t i = 0; i < config.rounds.size(); ++i) {
    if (config.rounds[i].name == name) return i;
  }
  return {};
}

// Where the result of a round lies.
std::string checkpoint_of(const RunParts& parts, size_t round) {
  return fmt::format("{}/checkpoints/{}", parts.config.run_folder(),
                     parts.saver.round_name(static_cast<int64_t>(round)));
}

class Start {
 public:
  Start(const RunParts& parts, const Init& init, size_t round, const RunState& state, bool& changed)
      : parts_(parts),
        config_(parts.config),
        init_(init),
        round_(config_.rounds[round]),
        index_(round),
        state_(state),
        changed_(changed) {}

  std::optional<std::vector<Parent>> run() {
    if (init_.kind == Init::Kind::kPrevious) {
      const auto before = round_before(config_, index_);
      const Parent parent = parent_named(before ? config_.rounds[*before].name : "base");
      if (changed_) load(parent);
      changed_ = false;
      return one(parent);
    }
    changed_ = true;
    switch (init_.kind) {
      case Init::Kind::kPrevious:
        break;
      case Init::Kind::kBase:
        load_base(config_, parts_.model, parts_.control, parts_.console);
        return one(parent_named("base"));
      case Init::Kind::kCheckpoint:
        load_weights(init_.name, parts_.model, rows_of(config_), parts_.control, parts_.console);
        return one({.what = "checkpoint", .name = init_.name, .digest = ""});
      case Init::Kind::kRound:
        if (config_.rounds[find_round(config_, init_.name).value()].set_aside) {
          base::fail_user(
              "{}: round '{}' starts from round '{}', whose result a gate has set aside. Give it "
              "another init, and start again.",
              config_.place, round_.name, init_.name);
        }
        load(parent_named(init_.name));
        return one(parent_named(init_.name));
      case Init::Kind::kMembers:
        return of_members();
    }
    throw base::Bug("unknown init");
  }

 private:
  static std::vector<Parent> one(Parent parent) { return {std::move(parent)}; }

  // A name in the configuration: of a round, `base`, or a path.
  Parent parent_named(const std::string& name) {
    Parent parent = {.what = "checkpoint", .name = name, .digest = ""};
    if (name == "base") parent.what = "base";
    if (find_round(config_, name)) {
      parent.what = "round";
      std::string digest;
      parts_.control.on_first([&] {
        if (const auto line = parts_.folder->ledger_line(name)) {
          digest = line->value("weights_digest", "");
        }
      });
      parent.digest = parts_.control.broadcast_text(digest);
    }
    return parent;
  }

  WeightSource source_of(const Parent& parent) {
    const model::Shape& shape = parts_.model.shape();
    if (parent.what == "base") return base_source(config_, shape, parts_.control);
    const std::string path = parent.what == "round"
                                 ? checkpoint_of(parts_, find_round(config_, parent.name).value())
                                 : parent.name;
    return {path, shape, rows_of(config_), parts_.control};
  }

  void load(const Parent& parent) {
    parts_.watchdog.enter("load", state_.step, base::Budget::kFixed);
    WeightSource source = source_of(parent);
    load_weights(source, parts_.model, parts_.control, parts_.console);
  }

  void load(const std::vector<Parent>& parents) {
    parts_.watchdog.enter("load", state_.step, base::Budget::kFixed);
    std::deque<WeightSource> sources;
    std::vector<Member> members;
    for (const Parent& parent : parents) {
      sources.push_back(source_of(parent));
      members.push_back({&sources.back(), parent.weight});
    }
    load_average(members, parts_.model, parts_.control, parts_.console);
  }

  // Held-out loss of the weights that the model holds; infinite when it is not a number.
  std::optional<double> loss() {
    const std::string& on = init_.members.on;
    const auto row = parts_.evaluate(config_.evaluate.max_examples, state_.step, on);
    if (!row) return {};
    const double value = row->front().second.loss;
    return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
  }

  std::optional<std::vector<Parent>> of_members() {
    const Members& given = init_.members;
    std::vector<Parent> members;
    for (size_t i = 0; i < given.of.size(); ++i) {
      const auto found = find_round(config_, given.of[i]);
      if (found && config_.rounds[*found].set_aside) {
        parts_.console.warn("round '{}': '{}' was set aside by a gate and is left out of {}",
                            round_.name, given.of[i], name_of_way());
        continue;
      }
      members.push_back(parent_named(given.of[i]));
      if (given.how == Members::How::kWeights) members.back().weight = given.weights[i];
    }
    if (members.empty()) {
      base::fail_user(
          "{}: round '{}': gates have set aside all rounds that init names. Give it another init, "
          "and start again.",
          config_.place, round_.name);
    }
    if (given.judged()) return judged(std::move(members));
    load(members);
    tell(members);
    return members;
  }

  // The best one, or with `greedy` the soup that begins with it.
  std::optional<std::vector<Parent>> judged(std::vector<Parent> members) {
    std::vector<std::pair<double, size_t>> order;
    for (size_t i = 0; i < members.size(); ++i) {
      load(members[i]);
      const auto its = loss();
      if (!its) return {};
      parts_.console.line("  {}: loss on {} {:.4f}", members[i].name, init_.members.on, *its);
      order.emplace_back(*its, i);
    }
    std::ranges::stable_sort(order, {}, &std::pair<double, size_t>::first);
    double best = order.front().first;
    std::vector<Parent> soup = {members[order.front().second]};
    const bool greedy = init_.members.how == Members::How::kGreedy;
    for (size_t k = 1; greedy && k < order.size(); ++k) {
      soup.push_back(members[order[k].second]);
      load(soup);
      const auto its = loss();
      if (!its) return {};
      const bool better = *its <= best;
      parts_.console.line("  with {}: loss on {} {:.4f}, {}", soup.back().name, init_.members.on,
                          *its, better ? "taken" : "left out");
      if (better) {
        best = *its;
      } else {
        soup.pop_back();
      }
    }
    load(soup);
    tell(soup);
    return soup;
  }

  const char* name_of_way() const {
    return init_.members.how == Members::How::kBest ? "the best" : "the average";
  }

  void tell(const std::vector<Parent>& members) {
    std::vector<std::string> words;
    for (const Parent& member : members) {
      words.push_back(member.weight == 1 ? member.name
                                         : fmt::format("{} * {:g}", member.name, member.weight));
    }
    parts_.console.line("round {} starts from {} of {}", round_.name, name_of_way(),
                        fmt::join(words, ", "));
  }

  const RunParts& parts_;
  const Config& config_;
  const Init& init_;
  const RoundSection& round_;
  const size_t index_;
  const RunState& state_;
  bool& changed_;
};

}  // namespace

void load_base(const Config& config, model::Model& model, comm::Control& control,
               base::Console& console) {
  WeightSource source = base_source(config, model.shape(), control);
  load_weights(source, model, control, console);
}

void check_inits(const Config& config, const model::Shape& shape, size_t first,
                 comm::Control& control) {
  const auto own = std::filesystem::weakly_canonical(config.run_folder() + "/checkpoints");
  const auto check = [&](const std::string& given) {
    const auto path = std::filesystem::weakly_canonical(given);
    bool later = false;
    control.on_first([&] { later = path.parent_path() == own && !is_checkpoint(path.string()); });
    if (control.any_true(later)) return;
    check_same_model(given, shape, rows_of(config), control);
  };
  const auto check_init = [&](const Init& init) {
    if (init.kind == Init::Kind::kCheckpoint) check(init.name);
    for (const std::string& name : init.members.of) {
      if (name != "base" && !find_round(config, name)) check(name);
    }
  };
  for (size_t i = first; i < config.rounds.size(); ++i) {
    check_init(config.rounds[i].init);
    for (const TrainedSource& trained : trained_sources(config, i)) {
      const auto& samples = config.source(trained.name).samples;
      if (samples) check_init(samples->by);
    }
  }
}

std::optional<std::vector<Parent>> start_weights(const RunParts& parts, const Init& init,
                                                 size_t round, const RunState& state,
                                                 bool& changed) {
  return Start(parts, init, round, state, changed).run();
}

}  // namespace rondo::train

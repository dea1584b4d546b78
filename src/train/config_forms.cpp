// The keys whose values have a form of their own: auto, intervals, paths, held-out sets, init.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/error.hpp"
#include "base/units.hpp"
#include "train/config_fields.hpp"

namespace rondo::train {

using base::ConfigReader;
using base::Problems;
using base::YamlNode;
using Kind = base::YamlNode::Kind;

namespace {

void expected(const YamlNode& node, const std::string& path, const std::string& forms,
              Problems& problems) {
  problems.add(
      fmt::format("{}: {} must be {}, found {}.", node.place, path, forms, node.described()));
}

bool is_text(const YamlNode& node, const char* text) {
  return node.kind == Kind::kScalar && node.scalar == text;
}

}  // namespace

void read_yaml(const YamlNode& node, AutoCount& value, const std::string& path,
               Problems& problems) {
  if (is_text(node, "auto")) {
    value.value = 0;
    return;
  }
  Problems own;
  int64_t count = 0;
  base::read_scalar(node, count, path, own);
  if (!own.empty() || count < 1) {
    expected(node, path, "auto or a whole number from 1 on", problems);
    return;
  }
  value.value = count;
}
std::string to_yaml(const AutoCount& value) {
  return value.automatic() ? "auto" : fmt::format("{}", value.value);
}
std::string yaml_form(const AutoCount& /*value*/) { return "auto or whole number"; }

void read_yaml(const YamlNode& node, ZeroStage& value, const std::string& path,
               Problems& problems) {
  if (is_text(node, "auto")) {
    value.value = -1;
    return;
  }
  Problems own;
  base::read_scalar(node, value.value, path, own);
  if (!own.empty() || value.value < 0 || value.value > 3) {
    expected(node, path, "auto, 0, 1, 2 or 3", problems);
  }
}
std::string to_yaml(const ZeroStage& value) {
  return value.automatic() ? "auto" : fmt::format("{}", value.value);
}
std::string yaml_form(const ZeroStage& /*value*/) { return "auto, 0, 1, 2, 3"; }

void read_yaml(const YamlNode& node, RecomputeSection& value, const std::string& path,
               Problems& problems) {
  const base::Field what{.meaning = "", .choices = {"none", "norms", "attention", "block"}};
  value = {};
  if (node.kind == Kind::kMap) {
    ConfigReader reader(node, path, problems);
    reader("what", value.what, what);
    reader("share", value.share, base::Field{.meaning = "", .minimum = 0, .maximum = 1});
    reader.finish();
    return;
  }
  for (const auto& choice : what.choices) {
    if (!is_text(node, std::string(choice).c_str())) continue;
    value.what = choice;
    return;
  }
  expected(node, path, "none, norms, attention, block, or {what: ..., share: 0.5}", problems);
}
std::string to_yaml(const RecomputeSection& value) {
  if (value.share == 1) return value.what;
  return fmt::format("{{what: {}, share: {}}}", value.what, value.share);
}
std::string yaml_form(const RecomputeSection& /*value*/) {
  return "none, norms, attention, block, {what: block, share: 0.5}";
}

void read_yaml(const YamlNode& node, Share& value, const std::string& path, Problems& problems) {
  if (is_text(node, "auto")) {
    value.value = 0;
    return;
  }
  Problems own;
  base::read_scalar(node, value.value, path, own);
  if (!own.empty() || !(value.value > 0) || !std::isfinite(value.value)) {
    expected(node, path, "auto or a number above 0", problems);
  }
}
std::string to_yaml(const Share& value) {
  return value.value == 0 ? "auto" : fmt::format("{}", value.value);
}
std::string yaml_form(const Share& /*value*/) { return "auto or number"; }

void read_yaml(const YamlNode& node, Interval& value, const std::string& path, Problems& problems) {
  if (is_text(node, "epoch")) {
    value = {.epoch = true};
    return;
  }
  if (is_text(node, "never")) {
    value = {};
    return;
  }
  if (node.kind == Kind::kScalar && !node.quoted) {
    Problems own;
    int64_t steps = 0;
    base::read_scalar(node, steps, path, own);
    if (own.empty() && steps >= 1) {
      value = {.steps = steps};
      return;
    }
  }
  if (node.kind == Kind::kScalar) {
    const auto seconds = base::parse_duration(node.scalar);
    if (seconds && *seconds > 0) {
      value = {.seconds = *seconds};
      return;
    }
  }
  expected(node, path, "a number of steps from 1 on, a duration such as 30min, epoch, or never",
           problems);
}
std::string to_yaml(const Interval& value) {
  if (value.epoch) return "epoch";
  if (value.seconds > 0) return fmt::format("{}s", value.seconds);
  return value.steps > 0 ? fmt::format("{}", value.steps) : "never";
}
std::string yaml_form(const Interval& /*value*/) { return "steps, 30min, epoch, never"; }

void read_yaml(const YamlNode& node, StepInterval& value, const std::string& path,
               Problems& problems) {
  Problems own;
  Interval interval;
  read_yaml(node, interval, path, own);
  if (!own.empty() || interval.seconds > 0) {
    expected(node, path, "a number of steps from 1 on, epoch, or never", problems);
    return;
  }
  value = {interval};
}
std::string yaml_form(const StepInterval& /*value*/) { return "steps, epoch, never"; }

void read_yaml(const YamlNode& node, Paths& value, const std::string& path, Problems& problems) {
  value.paths.clear();
  if (node.kind == Kind::kScalar) {
    value.paths.push_back(node.scalar);
    return;
  }
  if (node.kind != Kind::kList || node.items.empty()) {
    expected(node, path, "a path or a list of paths", problems);
    return;
  }
  for (const YamlNode& item : node.items) {
    std::string file;
    base::read_scalar(item, file, path, problems);
    value.paths.push_back(file);
  }
}
std::string to_yaml(const Paths& value) {
  std::string all;
  for (const auto& path : value.paths) {
    all += (all.empty() ? "" : ", ") + base::scalar_to_yaml(path);
  }
  return value.paths.empty() ? "null" : "[" + all + "]";
}
std::string yaml_form(const Paths& /*value*/) { return "path or list of paths"; }

void read_yaml(const YamlNode& node, Heldout& value, const std::string& path, Problems& problems) {
  value = {};
  if (node.kind != Kind::kMap) {
    read_yaml(node, value.files, path, problems);
    return;
  }
  struct Split {
    int64_t split = 0;
  } split;
  ConfigReader reader(node, path, problems);
  reader("split", split.split, base::Field{.meaning = "", .minimum = 1, .required = true});
  reader.finish();
  value.split = split.split;
}
std::string to_yaml(const Heldout& value) {
  return value.split > 0 ? fmt::format("{{split: {}}}", value.split) : to_yaml(value.files);
}
std::string yaml_form(const Heldout& /*value*/) { return "path, list of paths, or {split: N}"; }

namespace {

constexpr const char* kInitForms =
    "base, previous, {round: NAME}, {checkpoint: PATH}, "
    "{average: {of: [A, B], weights: uniform}}, or {best: {of: [A, B], on: SOURCE}}";

// The key `weights` of an average: the way of averaging, and the numbers where it lists them.
struct Weights {
  Members& of;
};
void read_yaml(const YamlNode& node, Weights& value, const std::string& path, Problems& problems) {
  Members& members = value.of;
  if (is_text(node, "uniform")) {
    members.how = Members::How::kUniform;
  } else if (is_text(node, "greedy")) {
    members.how = Members::How::kGreedy;
  } else if (node.kind == Kind::kList) {
    members.how = Members::How::kWeights;
    ConfigReader::read(node, members.weights, path, base::Field{}, problems);
  } else {
    expected(node, path, "uniform, greedy, or a list of numbers", problems);
  }
}

void read_members(const YamlNode& node, bool best, Members& value, const std::string& path,
                  Problems& problems) {
  value = {};
  value.place = node.place;
  value.how = best ? Members::How::kBest : Members::How::kUniform;
  if (node.kind != Kind::kMap) {
    expected(node, path, "a map with `of`, a list of models", problems);
    return;
  }
  ConfigReader reader(node, path, problems);
  reader("of", value.of, base::Field{.meaning = "", .required = true});
  reader("on", value.on, base::Field{});
  if (!best) {
    Weights weights{value};
    reader("weights", weights, base::Field{});
  }
  reader.finish();
}

std::string list_of(const std::vector<std::string>& names) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ", ") + base::scalar_to_yaml(name);
  return "[" + all + "]";
}

std::string members_to_yaml(const Members& value) {
  std::string text = "of: " + list_of(value.of);
  if (value.how == Members::How::kGreedy) text += ", weights: greedy";
  if (value.how == Members::How::kWeights) {
    text += fmt::format(", weights: [{}]", fmt::join(value.weights, ", "));
  }
  if (value.judged()) text += ", on: " + base::scalar_to_yaml(value.on);
  return "{" + text + "}";
}

}  // namespace

void read_yaml(const YamlNode& node, Init& value, const std::string& path, Problems& problems) {
  value = {};
  if (is_text(node, "base") || is_text(node, "previous")) {
    value.kind = is_text(node, "base") ? Init::Kind::kBase : Init::Kind::kPrevious;
    return;
  }
  if (node.kind != Kind::kMap || node.entries.size() != 1) {
    expected(node, path, kInitForms, problems);
    return;
  }
  const auto& [key, entry] = node.entries.front();
  const std::string inner = path + "." + key;
  if (key == "checkpoint" || key == "round") {
    value.kind = key == "round" ? Init::Kind::kRound : Init::Kind::kCheckpoint;
    base::read_scalar(entry, value.name, inner, problems);
  } else if (key == "average" || key == "best") {
    value.kind = Init::Kind::kMembers;
    read_members(entry, key == "best", value.members, inner, problems);
  } else {
    expected(node, path, kInitForms, problems);
  }
}
std::string to_yaml(const Init& value) {
  switch (value.kind) {
    case Init::Kind::kBase:
      return "base";
    case Init::Kind::kPrevious:
      return "previous";
    case Init::Kind::kCheckpoint:
      return fmt::format("{{checkpoint: {}}}", base::scalar_to_yaml(value.name));
    case Init::Kind::kRound:
      return fmt::format("{{round: {}}}", base::scalar_to_yaml(value.name));
    case Init::Kind::kMembers:
      return fmt::format("{{{}: {}}}",
                         value.members.how == Members::How::kBest ? "best" : "average",
                         members_to_yaml(value.members));
  }
  throw base::Bug("unknown init");
}
std::string yaml_form(const Init& /*value*/) { return kInitForms; }

void read_yaml(const YamlNode& node, VerifySection& value, const std::string& path,
               Problems& problems) {
  constexpr const char* kForms = "exact, numeric, {regex: PATTERN}, or {command: [PROGRAM, ...]}";
  value = {.place = node.place, .how = "", .pattern = "", .command = {}};
  if (is_text(node, "exact") || is_text(node, "numeric")) {
    value.how = node.scalar;
    return;
  }
  if (node.kind != Kind::kMap || node.entries.size() != 1) {
    expected(node, path, kForms, problems);
    return;
  }
  const auto& [key, entry] = node.entries.front();
  value.how = key;
  if (key == "regex") {
    base::read_scalar(entry, value.pattern, path + ".regex", problems);
  } else if (key == "command") {
    ConfigReader::read(entry, value.command, path + ".command", base::Field{}, problems);
    if (value.command.empty()) expected(entry, path + ".command", "a program", problems);
  } else {
    expected(node, path, kForms, problems);
  }
}
std::string to_yaml(const VerifySection& value) {
  if (value.how == "regex") {
    return fmt::format("{{regex: {}}}", base::scalar_to_yaml(value.pattern));
  }
  if (value.how == "command") return fmt::format("{{command: {}}}", list_of(value.command));
  return value.how;
}
std::string yaml_form(const VerifySection& /*value*/) {
  return "exact, numeric, {regex: PATTERN}, {command: [PROGRAM, ...]}";
}

void read_yaml(const YamlNode& node, std::vector<GateSection>& value, const std::string& path,
               Problems& problems) {
  value.clear();
  const auto read = [&](const YamlNode& gate, const std::string& where) {
    ConfigReader::read(gate, value.emplace_back(), where, base::Field{}, problems);
  };
  if (node.kind == Kind::kMap) {
    read(node, path);
  } else if (node.kind == Kind::kList) {
    for (size_t i = 0; i < node.items.size(); ++i) {
      read(node.items[i], fmt::format("{}[{}]", path, i));
    }
  } else {
    expected(node, path, "a gate (a map of keys), or a list of gates", problems);
  }
}

}  // namespace rondo::train

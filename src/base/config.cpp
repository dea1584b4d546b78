#include "base/config.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/foreign_keys.hpp"
#include "base/units.hpp"

namespace rondo::base {

namespace {

void wrong_type(const YamlNode& node, const std::string& path, const char* expected,
                Problems& problems) {
  problems.add(
      fmt::format("{}: {} must be {}, found {}.", node.place, path, expected, node.described()));
}

bool is_plain_scalar(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && !node.quoted;
}

// "08": some readers of YAML take it as octal, some as text.
bool has_leading_zero(std::string_view number) {
  if (number.starts_with('+') || number.starts_with('-')) number.remove_prefix(1);
  return number.size() > 1 && number[0] == '0' && number[1] >= '0' && number[1] <= '9';
}

std::string join(const std::vector<std::string>& names, const char* separator) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : separator) + name;
  return all;
}

// Number of single-letter changes between two words (Levenshtein).
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row[b.size()];
}

// Where in the configuration a key of this name belongs, quoted: below `section` if it is known
// there, else at the least depth. `keys` are written as in the reference.
std::vector<std::string> places_of(std::string name, const std::string& section,
                                   const std::vector<std::string>& keys) {
  std::ranges::replace(name, '-', '_');
  // rounds[0] is rounds[] in the reference.
  std::string general;
  for (size_t i = 0; i < section.size(); ++i) {
    const bool in_index = !general.empty() && general.back() == '[' && section[i] != ']';
    if (!in_index) general += section[i];
  }
  std::vector<std::string> below, elsewhere;
  std::ptrdiff_t least = std::numeric_limits<std::ptrdiff_t>::max();
  for (std::string key : keys) {
    // sources.NAME is the entry of sources, rounds[] that of rounds.
    for (const std::string_view entry : {".NAME", "[]"}) {
      if (key.ends_with(entry)) key.resize(key.size() - entry.size());
    }
    const size_t dot = key.rfind('.');
    if (key.substr(dot + 1) != name) continue;
    const std::ptrdiff_t depth = std::ranges::count(key, '.');
    if (!section.empty() && key.starts_with(general + ".")) {
      below.push_back("'" + section + key.substr(general.size()) + "'");
    } else if (depth <= least) {
      if (depth < least) elsewhere.clear();
      least = depth;
      elsewhere.push_back("'" + key + (depth == 0 ? "' at the top level" : "'"));
    }
  }
  return below.empty() ? elsewhere : below;
}

}  // namespace

void read_scalar(const YamlNode& node, bool& value, const std::string& path, Problems& problems) {
  if (is_plain_scalar(node) && (node.scalar == "true" || node.scalar == "false")) {
    value = node.scalar == "true";
    return;
  }
  wrong_type(node, path, "true or false", problems);
}

void read_scalar(const YamlNode& node, int64_t& value, const std::string& path,
                 Problems& problems) {
  if (is_plain_scalar(node)) {
    const std::string& text = node.scalar;
    const bool leading_zero = has_leading_zero(text);
    int64_t parsed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    if (error == std::errc() && end == text.data() + text.size() && !leading_zero) {
      value = parsed;
      return;
    }
    if (const auto count = parse_count(text);
        count && !leading_zero && text.find_first_of("kKMBGT") != std::string::npos) {
      value = *count;
      return;
    }
  }
  wrong_type(node, path, "a whole number", problems);
}

void read_scalar(const YamlNode& node, double& value, const std::string& path, Problems& problems) {
  if (is_plain_scalar(node) && !has_leading_zero(node.scalar)) {
    std::string_view text = node.scalar;
    if (text.starts_with('+')) text.remove_prefix(1);
    double parsed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    if (error == std::errc() && end == text.data() + text.size() && std::isfinite(parsed)) {
      value = parsed;
      return;
    }
  }
  wrong_type(node, path, "a number", problems);
}

void read_scalar(const YamlNode& node, std::string& value, const std::string& path,
                 Problems& problems) {
  if (node.kind == YamlNode::Kind::kScalar) {
    value = node.scalar;
    return;
  }
  wrong_type(node, path, "text", problems);
}

std::string scalar_to_yaml(bool value) { return value ? "true" : "false"; }
std::string scalar_to_yaml(int64_t value) { return fmt::format("{}", value); }
std::string scalar_to_yaml(double value) { return fmt::format("{}", value); }
std::string scalar_to_yaml(const std::string& value) {
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') {
      quoted += "\\n";
    } else {
      quoted += c;
    }
  }
  const bool plain = !value.empty() &&
                     value.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_/.-") == std::string::npos &&
                     value.find_first_not_of("0123456789.-") != std::string::npos &&
                     value[0] != '-' && value != "true" && value != "false" && value != "null";
  return plain ? value : quoted + "\"";
}

void check_range(const YamlNode& node, double value, const Field& field, const std::string& path,
                 Problems& problems) {
  const bool low = field.above_minimum ? value <= field.minimum : value < field.minimum;
  if (!low && value <= field.maximum) return;
  std::string expected;
  if (std::isfinite(field.minimum)) {
    expected = fmt::format("{} {}", field.above_minimum ? "above" : "at least", field.minimum);
  }
  if (std::isfinite(field.maximum)) {
    expected += fmt::format("{}at most {}", expected.empty() ? "" : " and ", field.maximum);
  }
  problems.add(fmt::format("{}: {} is {}, it must be {}.", node.place, path, value, expected));
}

void check_choice(const YamlNode& node, const std::string& value, const Field& field,
                  const std::string& path, Problems& problems) {
  if (field.choices.empty() || std::ranges::find(field.choices, value) != field.choices.end()) {
    return;
  }
  problems.add(fmt::format("{}: {} is '{}', it must be one of: {}.", node.place, path, value,
                           join(field.choices, ", ")));
}

std::string nearest_name(const std::string& key, const std::vector<std::string>& names) {
  std::string nearest;
  size_t best = key.size() / 3 + 1;
  for (const auto& name : names) {
    const size_t distance = edit_distance(key, name);
    if (distance <= best && (nearest.empty() || distance < best)) {
      best = distance;
      nearest = name;
    }
  }
  return nearest;
}

void ConfigReader::finish() {
  for (const auto& [key, value] : node_.entries) {
    if (std::ranges::find(known_, key) != known_.end()) continue;
    const std::string path = path_.empty() ? key : path_ + "." + key;
    std::string advice = hint_for_foreign_key(path);
    if (advice.empty()) {
      std::vector<std::string> candidates = places_of(key, path_, problems_.known_keys);
      const std::string near = nearest_name(key, known_);
      // A slip of one letter here is as likely as a key in the wrong section.
      if (!near.empty() && (candidates.empty() || edit_distance(key, near) == 1)) {
        candidates.insert(candidates.begin(), "'" + near + "'");
      }
      advice = candidates.empty() ? fmt::format("Known here: {}.", join(known_, ", "))
                                  : fmt::format("Did you mean {}?", join(candidates, " or "));
    }
    problems_.add(fmt::format("{}: unknown key '{}'. {}", value.place, path, advice));
  }
}

void ConfigReference::row(const std::string& path, const std::string& value, const Field& field,
                          const std::string& form) {
  keys_.push_back(path);
  std::string shown = field.shown_default.empty() ? value : field.shown_default;
  if (field.required) shown = "required";
  std::string kind = field.choices.empty() ? form : join(field.choices, ", ");
  text_ += fmt::format("| `{}` | {} | {} | {} |\n", path, kind,
                       shown.empty() ? "" : "`" + shown + "`", field.meaning);
}

}  // namespace rondo::base

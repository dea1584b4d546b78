#include "base/config.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

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
    const bool leading_zero = text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
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
  if (is_plain_scalar(node)) {
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

std::string hint_for_foreign_key(const std::string& key) {
  static const std::map<std::string, std::string> kHints = {
      {"gradient_accumulation_steps",
       "accumulation follows from batch.packs / (ranks * batch.micro_packs)"},
      {"per_device_train_batch_size", "batch.micro_packs (packs per rank and micro-batch)"},
      {"micro_batch_size", "batch.micro_packs (packs per rank and micro-batch)"},
      {"train_batch_size", "batch.packs (packs per step over all ranks)"},
      {"global_batch_size", "batch.packs (packs per step over all ranks)"},
      {"batch_size", "batch.packs (packs per step over all ranks)"},
      {"max_seq_length", "batch.seq_len"},
      {"max_length", "batch.seq_len"},
      {"seq_length", "batch.seq_len"},
      {"sequence_len", "batch.seq_len"},
      {"cutoff_len", "batch.seq_len"},
      {"learning_rate", "optimizer.lr"},
      {"lr", "optimizer.lr"},
      {"weight_decay", "optimizer.weight_decay"},
      {"adam_beta1", "optimizer.betas"},
      {"adam_beta2", "optimizer.betas"},
      {"adam_epsilon", "optimizer.eps"},
      {"max_grad_norm", "optimizer.clip"},
      {"clip_grad", "optimizer.clip"},
      {"lr_scheduler_type", "schedule.kind"},
      {"lr_scheduler", "schedule.kind"},
      {"lr_decay_style", "schedule.kind"},
      {"warmup_ratio", "schedule.warmup (a share below 1, or a number of steps)"},
      {"warmup_steps", "schedule.warmup (a share below 1, or a number of steps)"},
      {"num_train_epochs", "rounds[].epochs"},
      {"num_epochs", "rounds[].epochs"},
      {"max_steps", "rounds[].steps, or run.max_steps to end a run early"},
      {"train_iters", "rounds[].steps"},
      {"save_steps", "checkpoint.every"},
      {"save_interval", "checkpoint.every"},
      {"save_total_limit", "checkpoint.keep"},
      {"eval_steps", "evaluate.every"},
      {"eval_interval", "evaluate.every"},
      {"output_dir", "run.dir and run.name"},
      {"model_name_or_path", "model.from"},
      {"base_model", "model.from"},
      {"tokenizer_name_or_path", "tokenizer"},
      {"dataset_name", "sources.NAME.train"},
      {"datasets", "sources"},
      {"bf16", "precision"},
      {"fp16", "precision"},
      {"packing", "nothing: rondo always packs without attention across documents"},
      {"sample_packing", "nothing: rondo always packs without attention across documents"},
      {"tensor_model_parallel_size", "parallel.tensor"},
      {"zero_stage", "parallel.zero"},
      {"resume_from_checkpoint", "checkpoint.resume"},
      {"logging_steps", "run.print_every"},
  };
  const auto found = kHints.find(key);
  return found == kHints.end() ? "" : found->second;
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
    std::string advice;
    if (const auto hint = hint_for_foreign_key(key); !hint.empty()) {
      advice = fmt::format(" In rondo this is {}.", hint);
    } else if (const auto name = nearest_name(key, known_); !name.empty()) {
      advice = fmt::format(" Did you mean '{}'?", name);
    } else {
      advice = fmt::format(" Known here: {}.", join(known_, ", "));
    }
    problems_.add(fmt::format("{}: unknown key '{}'.{}", value.place, path, advice));
  }
}

void ConfigReference::row(const std::string& path, const std::string& value, const Field& field,
                          const std::string& form) {
  std::string shown = field.shown_default.empty() ? value : field.shown_default;
  if (field.required) shown = "required";
  std::string kind = field.choices.empty() ? form : join(field.choices, ", ");
  text_ += fmt::format("| `{}` | {} | {} | {} |\n", path, kind,
                       shown.empty() ? "" : "`" + shown + "`", field.meaning);
}

}  // namespace rondo::base

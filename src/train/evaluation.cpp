#include "train/evaluation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "data/loader.hpp"

namespace rondo::train {

namespace {

// JSON has no word for NaN: it is written as null.
double number_or_nan(const nlohmann::json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

}  // namespace

const HeldoutScore* find_score(const EvaluationRow& row, const std::string& source) {
  for (const auto& [name, score] : row) {
    if (name == source) return &score;
  }
  return nullptr;
}

nlohmann::json to_json(const EvaluationRow& row) {
  auto json = nlohmann::json::array();
  for (const auto& [source, score] : row) {
    json.push_back({{"source", source}, {"loss", score.loss}, {"accuracy", score.accuracy}});
    if (score.exact_match) json.back()["exact_match"] = *score.exact_match;
  }
  return json;
}

std::string in_words(const EvaluationRow& row) {
  std::string text;
  for (const auto& [source, score] : row) {
    text += fmt::format("{}{} {:.4f} ({:.1f}%)", text.empty() ? "" : ", ", source, score.loss,
                        100 * score.accuracy);
  }
  return text;
}

EvaluationRow row_from_json(const nlohmann::json& json) {
  EvaluationRow row;
  for (const auto& entry : json) {
    HeldoutScore score = {number_or_nan(entry.at("loss")), number_or_nan(entry.at("accuracy"))};
    if (entry.contains("exact_match")) score.exact_match = entry["exact_match"].get<double>();
    row.emplace_back(entry.at("source").get<std::string>(), score);
  }
  return row;
}

bool is_due(const Interval& every, int64_t round_step, int64_t steps_per_epoch) {
  if (every.epoch) return round_step % steps_per_epoch == 0;
  return every.steps > 0 && round_step % every.steps == 0;
}

std::optional<EvaluationRow> Evaluator::evaluate(Stepper& stepper,
                                                 const std::function<bool()>& stop) const {
  EvaluationRow row;
  for (const Heldout& heldout : heldout_) {
    auto order = data::evaluation_order(micro_packs_, group_.rank(), group_.size());
    order.average = average_;
    order.read_ahead = 2 * micro_packs_;
    data::Loader loader(*heldout.set, order);
    Totals totals;
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      std::vector<data::PackedBatch> batches;
      if (control_.any_true(stop())) return std::nullopt;
      control_.agree([&] { batches = loader.step(step); });
      totals = stepper.evaluate(batches, totals);
    }
    row.emplace_back(heldout.source,
                     HeldoutScore{.loss = totals.loss(),
                                  .accuracy = totals.trainable_tokens > 0
                                                  ? totals.correct / totals.trainable_tokens
                                                  : 0});
  }
  return row;
}

void ForgettingMatrix::set(const std::string& row, EvaluationRow scores) {
  std::erase_if(rows_, [&](const auto& entry) { return entry.first == row; });
  rows_.emplace_back(row, std::move(scores));
}

const EvaluationRow* ForgettingMatrix::row(const std::string& name) const {
  for (const auto& [known, scores] : rows_) {
    if (known == name) return &scores;
  }
  return nullptr;
}

std::vector<std::string> ForgettingMatrix::names() const {
  std::vector<std::string> names;
  for (const auto& entry : rows_) names.push_back(entry.first);
  return names;
}

nlohmann::json ForgettingMatrix::to_json() const {
  auto json = nlohmann::json::array();
  for (const auto& [name, scores] : rows_) {
    json.push_back({{"row", name}, {"heldout", train::to_json(scores)}});
  }
  return json;
}

ForgettingMatrix ForgettingMatrix::from_json(const nlohmann::json& json) {
  ForgettingMatrix matrix;
  for (const auto& entry : json) {
    matrix.set(entry.at("row").get<std::string>(), row_from_json(entry.at("heldout")));
  }
  return matrix;
}

void ForgettingMatrix::print(base::Console& console) const {
  if (rows_.empty() || rows_.front().second.empty()) return;
  size_t width = 8;
  for (const auto& [name, scores] : rows_) width = std::max(width, name.size());
  const auto table = [&](const char* title, const auto& cell) {
    std::string head = fmt::format("  {:<{}}", "", width);
    for (const auto& [source, score] : rows_.front().second) {
      head += fmt::format("  {:>16}", source);
    }
    console.line("{}", title);
    console.line("{}", head);
    for (const auto& [name, scores] : rows_) {
      std::string line = fmt::format("  {:<{}}", name, width);
      for (const auto& [source, score] : scores) line += fmt::format("  {:>16}", cell(score));
      console.line("{}", line);
    }
  };
  table("held-out loss (token accuracy) after each round", [](const HeldoutScore& score) {
    return fmt::format("{:.4f} ({:5.1f}%)", score.loss, 100 * score.accuracy);
  });
  const auto answered = [](const auto& row) {
    return std::ranges::any_of(
        row.second, [](const auto& entry) { return entry.second.exact_match.has_value(); });
  };
  if (std::ranges::none_of(rows_, answered)) return;
  table("answers that are right after each round", [](const HeldoutScore& score) {
    return score.exact_match ? fmt::format("{:.1f}%", 100 * *score.exact_match) : "-";
  });
}

}  // namespace rondo::train

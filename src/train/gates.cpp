#include "train/gates.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.hpp"

namespace rondo::train {

namespace {

std::optional<double> figure_of(const HeldoutScore& score, const std::string& figure) {
  if (figure == "exact_match") return score.exact_match;
  return figure == "accuracy" ? score.accuracy : score.loss;
}

// The figure that the gate compares with.
std::optional<double> reference_of(const GateSection& gate, const ForgettingMatrix& matrix,
                                   const std::string& round, const std::string& previous) {
  const auto figure_in = [&](const std::string& name) -> std::optional<double> {
    const EvaluationRow* row = matrix.row(name);
    const HeldoutScore* score = row == nullptr ? nullptr : find_score(*row, gate.on);
    if (score == nullptr) return {};
    return figure_of(*score, gate.figure);
  };
  if (gate.relative_to != "best") {
    return figure_in(gate.relative_to == "base" ? "base" : previous);
  }
  std::optional<double> best;
  for (const std::string& name : matrix.names()) {
    if (name == round) break;
    const auto figure = figure_in(name);
    if (!figure) continue;
    const bool better = best && (gate.figure == "loss" ? *figure < *best : *figure > *best);
    if (!best || std::isnan(*best) || better) best = figure;
  }
  return best;
}

GateVerdict begin_verdict(const GateSection& gate, const std::string& of, double now) {
  GateVerdict verdict;
  verdict.json = {{"on", of}, {"figure", gate.figure}, {"now", now}, {"otherwise", gate.otherwise}};
  verdict.text = fmt::format("{} on {} is {:.4f}", gate.figure, of, now);
  verdict.held = !std::isnan(now);
  return verdict;
}

// `held` is false for what is not a number.
void add_bound(GateVerdict& verdict, bool held, const char* key, double value,
               const std::string& text) {
  verdict.held = verdict.held && held;
  verdict.json[key] = value;
  verdict.text += text;
}

void add_absolute_bounds(GateVerdict& verdict, const GateSection& gate, double now) {
  if (gate.min) {
    add_bound(verdict, now >= *gate.min, "min", *gate.min,
              fmt::format(", at least {:g}", *gate.min));
  }
  if (gate.max) {
    add_bound(verdict, now <= *gate.max, "max", *gate.max,
              fmt::format(", at most {:g}", *gate.max));
  }
}

}  // namespace

GateVerdict judge_figure(const GateSection& gate, double now) {
  GateVerdict verdict = begin_verdict(gate, gate.command.front(), now);
  add_absolute_bounds(verdict, gate, now);
  verdict.json["held"] = verdict.held;
  return verdict;
}

GateVerdict judge(const GateSection& gate, const ForgettingMatrix& matrix, const std::string& round,
                  const std::string& previous) {
  const HeldoutScore* score = find_score(*matrix.row(round), gate.on);
  RONDO_CHECK(score != nullptr, "gate on {} without its held-out figures", gate.on);
  const double now = figure_of(*score, gate.figure).value();
  GateVerdict verdict = begin_verdict(gate, gate.on, now);
  add_absolute_bounds(verdict, gate, now);
  if (gate.compares()) {
    const auto reference = reference_of(gate, matrix, round, previous);
    if (!reference) {
      base::fail_user(
          "gate of round '{}': there is no earlier held-out {} on '{}' to compare with "
          "(relative_to: {}). Was the source added later? Take the gate out of this round and "
          "start again.",
          round, gate.figure, gate.on, gate.relative_to);
    }
    const double change = now - *reference;
    verdict.json["relative_to"] = gate.relative_to;
    verdict.json["reference"] = *reference;
    verdict.text +=
        fmt::format(", {} {:.4f}: change {:+.4f}", gate.relative_to, *reference, change);
    if (gate.max_loss_increase || !gate.max_decrease) {
      const double allowed = gate.max_loss_increase.value_or(0);
      add_bound(verdict, change <= allowed, "max_loss_increase", allowed,
                fmt::format(", allowed {:+.4f}", allowed));
    }
    if (gate.max_decrease) {
      add_bound(verdict, -change <= *gate.max_decrease, "max_decrease", *gate.max_decrease,
                fmt::format(", allowed {:+.4f}", -*gate.max_decrease));
    }
  }
  verdict.json["held"] = verdict.held;
  return verdict;
}

std::string_view name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kKept:
      return "kept";
    case Outcome::kEnded:
      return "ended";
    case Outcome::kRetried:
      return "retried";
    case Outcome::kSetAside:
      return "set_aside";
  }
  throw base::Bug("unknown outcome");
}

Judgement judge_round(const RoundSection& round, const ForgettingMatrix& matrix,
                      const std::string& previous, int64_t attempt,
                      const std::vector<nlohmann::json>& figures) {
  Judgement judgement;
  bool stop = false;
  bool retry = false;
  bool rollback = false;
  for (size_t k = 0; k < round.gate.size(); ++k) {
    const GateSection& gate = round.gate[k];
    const GateVerdict& verdict = judgement.verdicts.emplace_back(
        gate.command.empty() ? judge(gate, matrix, round.name, previous)
                             : judge_figure(gate, figures.at(k).at(gate.figure).get<double>()));
    if (verdict.held) continue;
    stop = stop || gate.otherwise == "stop";
    retry = retry || gate.otherwise == "retry";
    rollback = rollback || gate.otherwise == "rollback";
  }
  if (stop) {
    judgement.outcome = Outcome::kEnded;
  } else if (retry && attempt < std::ssize(round.retry)) {
    judgement.outcome = Outcome::kRetried;
  } else if (retry || rollback) {
    judgement.outcome = Outcome::kSetAside;
  }
  return judgement;
}

}  // namespace rondo::train

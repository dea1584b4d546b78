#include "train/round_finish.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "train/gates.hpp"
#include "train/ledger_line.hpp"
#include "train/round_export.hpp"
#include "train/tokenizer_files.hpp"

namespace rondo::train {

namespace {

// On rank 0.
std::string round_checkpoint(const RunParts& parts, size_t round) {
  const std::string name = parts.saver.round_name(static_cast<int64_t>(round));
  return parts.folder->path("checkpoints/" + name);
}

Judgement judged(const RunParts& parts, size_t index, const RunState& state) {
  const RoundSection& round = parts.config.rounds[index];
  const auto before = round_before(parts.config, index);
  const std::string previous = before ? parts.config.rounds[*before].name : "base";
  Judgement judgement = judge_round(round, state.matrix, previous, state.attempt);
  for (size_t k = 0; k < judgement.verdicts.size(); ++k) {
    const GateVerdict& verdict = judgement.verdicts[k];
    if (verdict.held) {
      parts.console.line("gate holds: {}", verdict.text);
    } else {
      parts.console.warn("gate of round '{}' fails: {} ({})", round.name, verdict.text,
                         round.gate[k].otherwise);
    }
  }
  return judgement;
}

// Returns the folder, or "" where none is wanted.
std::string export_model(const RunParts& parts, const RoundSection& round, const RunState& state) {
  if (!parts.config.exports.rounds) return "";
  const std::string target = exported_folder(parts.config, round);
  export_round(parts.config, state, parts.model, target, parts.control);
  parts.console.line("exported {}", target);
  if (!holds_tokenizer(parts.config.tokenizer_folder())) {
    parts.console.warn("{} has no tokenizer, as none is named: give `tokenizer: FOLDER`", target);
  }
  return target;
}

// On rank 0. The ledger line of a round that ended as its checkpoint says, its model exported.
std::optional<nlohmann::json> line_of_end(const RunParts& parts, size_t index) {
  const RoundSection& round = parts.config.rounds[index];
  auto line = parts.folder->ledger_line(round.name);
  if (!line) return {};
  const bool same =
      line->value("result_digest", "") == stored_digest(round_checkpoint(parts, index));
  const bool exported =
      !parts.config.exports.rounds || std::filesystem::exists(exported_folder(parts.config, round));
  if (!same || !exported) return {};
  return line;
}

}  // namespace

bool evaluate_row(const RunParts& parts, RunState& state, const std::string& name) {
  const auto row = parts.evaluate(parts.config.evaluate.max_examples, state.step);
  if (!row) return false;
  state.matrix.set(name, *row);
  parts.control.on_first([&] {
    parts.event({{"event", "evaluated"},
                 {"row", name},
                 {"step", state.step},
                 {"evaluate", to_json(*state.matrix.row(name))}});
  });
  state.matrix.print(parts.console);
  parts.faults.reach("evaluated", state.step);
  return true;
}

AfterRound finish_round(const RunParts& parts, size_t index, RunState& state) {
  const RoundSection& round = parts.config.rounds[index];
  parts.faults.reach("round_saved", state.step);
  if (parts.sets.any_heldout() && !evaluate_row(parts, state, round.name)) {
    return AfterRound::kStopped;
  }
  const Judgement judgement = judged(parts, index, state);
  const bool stands = judgement.outcome == Outcome::kKept || judgement.outcome == Outcome::kEnded;
  parts.watchdog.enter("export", state.step, base::Budget::kFixed);
  const std::string exported = stands ? export_model(parts, round, state) : "";
  parts.faults.reach("exported", state.step);
  const std::string digest = digest_of(parts.model, false);
  parts.control.on_first([&] {
    parts.folder->ledger(ledger_line({.config = parts.config,
                                      .round = index,
                                      .state = state,
                                      .packed = parts.data.rounds[index],
                                      .checkpoint = round_checkpoint(parts, index),
                                      .weights_digest = digest,
                                      .exported = exported,
                                      .judgement = judgement,
                                      .ranks = parts.control.size(),
                                      .version = parts.version}));
  });
  parts.faults.reach("ledger_written", state.step);
  if (!stands) return AfterRound::kSetAside;
  if (const auto before = round_before(parts.config, index)) {
    parts.saver.drop_optimizer(static_cast<int64_t>(*before));
  }
  parts.faults.reach("optimizer_dropped", state.step);
  if (judgement.outcome == Outcome::kEnded) {
    parts.console.line("the run ends here: gate.otherwise of round '{}' is stop", round.name);
    return AfterRound::kEnded;
  }
  // The next round would only be begun.
  const bool more = index + 1 < parts.config.rounds.size();
  return more && parts.stop_wanted() ? AfterRound::kStopped : AfterRound::kGoOn;
}

nlohmann::json take_row(const RunParts& parts, RunState& state) {
  const auto index = static_cast<size_t>(state.round);
  std::string text = "null";
  parts.control.on_first([&] {
    if (const auto line = line_of_end(parts, index)) text = line->dump();
  });
  auto line = nlohmann::json::parse(parts.control.broadcast_text(text));
  if (line.is_object()) {
    state.matrix.set(parts.config.rounds[index].name, row_from_json(line.at("heldout")));
  }
  return line;
}

std::string why_finished(const RunParts& parts, RunState& state) {
  if (!state.round_trained) return {};
  const auto index = static_cast<size_t>(state.round);
  const auto line = take_row(parts, state);
  if (!line.is_object()) return {};
  if (line.value("outcome", "") == name_of(Outcome::kEnded)) {
    return fmt::format("the gate of round '{}' has ended this run",
                       parts.config.rounds[index].name);
  }
  if (round_after(parts.config, index)) return {};
  return fmt::format("all {} rounds are done", parts.config.rounds.size());
}

}  // namespace rondo::train

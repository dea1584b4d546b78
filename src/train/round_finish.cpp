#include "train/round_finish.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "train/answers.hpp"
#include "train/commands.hpp"
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

// Where what a gate's command prints is kept: of these weights and this command alone.
std::string figures_file(const RunParts& parts, const RoundSection& round, const GateSection& gate,
                         const std::string& weights_digest) {
  std::string of = weights_digest;
  for (const std::string& word : gate.command) of += "\n" + word;
  return fmt::format("{}/rounds/{}/figures.{}.json", parts.config.run_folder(), round.name,
                     base::hash_hex(of).substr(0, 8));
}

// Collective. What the commands of a round's gates have printed, by gate; nothing when
// commands.json now names those that have to be run first. UserError for a figure that none has
// printed.
std::optional<std::vector<nlohmann::json>> figures_of(const RunParts& parts,
                                                      const RoundSection& round,
                                                      const std::string& weights_digest,
                                                      const std::string& exported) {
  std::string text;
  parts.control.on_first([&] {
    std::vector<OutsideCommand> lacking;
    auto figures = nlohmann::json::array();
    for (const GateSection& gate : round.gate) {
      figures.push_back(nullptr);
      if (gate.command.empty()) continue;
      const std::string path = figures_file(parts, round, gate, weights_digest);
      if (!std::filesystem::exists(path)) {
        lacking.push_back({.name = fmt::format("gate of round {}", round.name),
                           .argv = gate.command,
                           .input = "",
                           .output = path,
                           .kind = "figures",
                           .folder = exported});
        continue;
      }
      std::istringstream lines(base::read_text(path));
      std::string last;
      for (std::string line; std::getline(lines, line);) {
        if (!line.empty()) last = line;
      }
      const auto found = base::try_parse_json(last);
      if (!found || !found->is_object() || !found->contains(gate.figure) ||
          !(*found)[gate.figure].is_number()) {
        base::fail_user(
            "{}: has no figure '{}', which a gate of round '{}' names. Correct the command or the "
            "gate, remove the file, and start again.",
            path, gate.figure, round.name);
      }
      figures.back() = *found;
    }
    write_commands(parts.config.run_folder(), lacking);
    if (lacking.empty()) text = figures.dump();
  });
  text = parts.control.broadcast_text(text);
  if (text.empty()) return {};
  return nlohmann::json::parse(text).get<std::vector<nlohmann::json>>();
}

Judgement judged(const RunParts& parts, size_t index, const RunState& state,
                 const std::vector<nlohmann::json>& figures) {
  const RoundSection& round = parts.config.rounds[index];
  const auto before = round_before(parts.config, index);
  const std::string previous = before ? parts.config.rounds[*before].name : "base";
  Judgement judgement = judge_round(round, state.matrix, previous, state.attempt, figures);
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
  parts.watchdog.enter("export", state.step, base::Budget::kFixed);
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
  // Once its optimizer state is dropped a checkpoint holds the weights alone.
  const std::string digest = stored_digest(round_checkpoint(parts, index));
  const bool same =
      line->value("result_digest", "") == digest || line->value("weights_digest", "") == digest;
  const bool exported =
      !parts.config.exports.rounds || std::filesystem::exists(exported_folder(parts.config, round));
  if (!same || !exported) return {};
  return line;
}

}  // namespace

bool evaluate_row(const RunParts& parts, RunState& state, const std::string& name) {
  auto row = parts.evaluate(parts.config.evaluate.max_examples, state.step);
  if (!row) return false;
  if (parts.config.evaluate.answers > 0) {
    for (size_t k = 0; k < row->size(); ++k) {
      const auto right = share_answered_right(parts, parts.data.heldout[k], state);
      if (!right) return false;
      (*row)[k].second.exact_match = right;
    }
  }
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
  const std::string digest = digest_of(parts.model, false);
  const bool commands = std::ranges::any_of(
      round.gate, [](const GateSection& gate) { return !gate.command.empty(); });
  std::string exported;
  std::vector<nlohmann::json> figures;
  if (commands) {
    exported = export_model(parts, round, state);
    auto found = figures_of(parts, round, digest, exported);
    if (!found) return AfterRound::kNeedsCommand;
    figures = std::move(*found);
  }
  const Judgement judgement = judged(parts, index, state, figures);
  const bool stands = judgement.outcome == Outcome::kKept || judgement.outcome == Outcome::kEnded;
  if (stands && !commands) exported = export_model(parts, round, state);
  if (!stands && commands) {
    parts.control.on_first([&] { std::filesystem::remove_all(exported); });
    exported.clear();
  }
  parts.faults.reach("exported", state.step);
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

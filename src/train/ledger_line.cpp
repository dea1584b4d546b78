#include "train/ledger_line.hpp"

#include <ATen/Parallel.h>

#include "base/file.hpp"
#include "base/hash.hpp"
#include "data/packed_format.hpp"
#include "data/tokenized.hpp"
#include "train/config_fields.hpp"
#include "train/run_data.hpp"
#include "train/run_folder.hpp"

namespace rondo::train {

namespace {

// A path in the run folder, as seen from it.
std::string within(const Config& config, const std::string& path) {
  const std::string folder = config.run_folder() + "/";
  return path.starts_with(folder) ? path.substr(folder.size()) : path;
}

// What the round has made of a model's answers (docs/rounds.md).
nlohmann::json samples_of(const Config& config, size_t round) {
  auto all = nlohmann::json::array();
  for (const TrainedSource& trained : trained_sources(config, round)) {
    if (trained.replayed || !config.source(trained.name).samples) continue;
    const auto info = data::read_tokenized_info(samples_file(config, round, trained.name));
    auto counts = nlohmann::json::parse(info.counts, nullptr, false);
    if (!counts.is_object()) continue;
    counts["source"] = trained.name;
    all.push_back(std::move(counts));
  }
  return all;
}

}  // namespace

nlohmann::json ledger_line(const RoundRecord& record) {
  const RoundSection& round = record.config.rounds[record.round];
  const RunState& state = record.state;
  nlohmann::json plan;  // null where nothing was trained
  if (round.trains()) {
    const std::string path = record.packed.out_folder + "/" + data::kPlanFile;
    plan = nlohmann::json::parse(base::read_text(path), nullptr, false);
  }
  auto gates = nlohmann::json::array();
  for (const GateVerdict& verdict : record.judgement.verdicts) gates.push_back(verdict.json);
  nlohmann::json passes = nlohmann::json::object();
  for (const auto& [name, count] : round.data) passes[name] = count;
  nlohmann::json shares = nlohmann::json::object();
  for (const auto& [name, share] : round.shares) shares[name] = to_yaml(share);
  const auto* row = state.matrix.row(round.name);
  return {{"kind", "round"},
          {"round", round.name},
          {"index", record.round},
          {"attempt", state.attempt},
          {"outcome", name_of(record.judgement.outcome)},
          {"time", utc_now()},
          {"base", record.config.model.from.value_or("shape")},
          {"init", to_yaml(round.init)},
          {"parents", to_json(state.parents)},
          {"start_digest", state.start_digest},
          {"steps", state.round_step},
          {"last_step", state.step},
          {"data", passes},
          {"shares", shares},
          {"inputs", plan.is_object() ? plan.value("inputs", nlohmann::json()) : nlohmann::json()},
          {"plan_hash", round.trains() ? state.plan_hashes.at(round.name) : ""},
          {"clean_hash", plan.is_object() && plan.contains("account")
                             ? plan["account"].value("clean_hash", "")
                             : std::string()},
          {"tokenizer_hash", plan.is_object() ? plan.value("tokenizer_hash", "") : std::string()},
          {"config_hash", base::hash_hex(state.round_configs.at(round.name))},
          {"result_digest", stored_digest(record.checkpoint)},
          {"weights_digest", record.weights_digest},
          {"checkpoint", within(record.config, record.checkpoint)},
          {"exported", within(record.config, record.exported)},
          {"samples", samples_of(record.config, record.round)},
          {"seed", record.config.run.seed},
          {"layout", {{"tensor", state.tensor}, {"zero", state.zero}}},
          {"ranks", record.ranks},
          {"threads_per_rank", at::get_num_threads()},
          {"version", record.version},
          {"heldout", row == nullptr ? nlohmann::json::array() : to_json(*row)},
          {"gates", gates}};
}

}  // namespace rondo::train

#include "train/ledger_line.hpp"

#include <ATen/Parallel.h>

#include "base/file.hpp"
#include "base/hash.hpp"
#include "data/packed_format.hpp"
#include "train/config_fields.hpp"
#include "train/run_folder.hpp"

namespace rondo::train {

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
  return {{"round", round.name},
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
          {"checkpoint", record.checkpoint},
          {"exported", record.exported},
          {"ranks", record.ranks},
          {"threads_per_rank", at::get_num_threads()},
          {"version", record.version},
          {"heldout", row == nullptr ? nlohmann::json::array() : to_json(*row)},
          {"gates", gates}};
}

}  // namespace rondo::train

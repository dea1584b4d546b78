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
  const auto plan = nlohmann::json::parse(
      base::read_text(record.packed.out_folder + "/" + data::kPlanFile), nullptr, false);
  nlohmann::json passes = nlohmann::json::object();
  for (const auto& [name, count] : round.data) passes[name] = count;
  nlohmann::json shares = nlohmann::json::object();
  for (const auto& [name, share] : round.shares) shares[name] = to_yaml(share);
  const auto* row = state.matrix.row(round.name);
  return {{"round", round.name},
          {"index", record.round},
          {"time", utc_now()},
          {"base", record.config.model.from.value_or("shape")},
          {"start_digest", state.start_digest},
          {"steps", state.round_step},
          {"last_step", state.step},
          {"data", passes},
          {"shares", shares},
          {"inputs", plan.is_object() ? plan.value("inputs", nlohmann::json()) : nlohmann::json()},
          {"plan_hash", state.plan_hashes.at(round.name)},
          {"clean_hash", plan.is_object() && plan.contains("account")
                             ? plan["account"].value("clean_hash", "")
                             : std::string()},
          {"tokenizer_hash", plan.is_object() ? plan.value("tokenizer_hash", "") : std::string()},
          {"config_hash", base::hash_hex(state.round_configs.at(round.name))},
          {"result_digest", stored_digest(record.checkpoint)},
          {"checkpoint", record.checkpoint},
          {"exported", record.exported},
          {"ranks", record.ranks},
          {"threads_per_rank", at::get_num_threads()},
          {"version", record.version},
          {"heldout", row == nullptr ? nlohmann::json::array() : to_json(*row)},
          {"gate", record.gate}};
}

}  // namespace rondo::train

// The line of ledger.jsonl that a round ends with: what went in, what came out.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "data/pack_request.hpp"
#include "train/config.hpp"
#include "train/gates.hpp"
#include "train/run_state.hpp"

namespace rondo::train {

struct RoundRecord {
  const Config& config;
  size_t round;                     // its index
  const RunState& state;            // at its end
  const data::PackRequest& packed;  // whose plan.json names the files the packs were made from
  std::string checkpoint;           // folder
  std::string weights_digest;       // of its weights alone
  std::string exported;             // folder; "": none
  const Judgement& judgement;
  int ranks;
  std::string version;
};

// Called on rank 0. Reads the plan of the packs and the manifest of the checkpoint.
nlohmann::json ledger_line(const RoundRecord& record);

}  // namespace rondo::train

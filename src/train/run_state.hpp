// Where a run stands: what a checkpoint stores besides tensors, and what a resume compares.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/config.hpp"
#include "train/divergence.hpp"
#include "train/evaluation.hpp"

namespace rondo::train {

// A model that the weights at the start of a round come from.
struct Parent {
  std::string what;    // "base", "round" or "checkpoint"
  std::string name;    // of the round, or path
  std::string digest;  // of its weights, where it is known
  double weight = 1;   // in an average
};

struct RunState {
  int64_t round = 0;           // index of the round in progress, or that has just ended
  int64_t attempt = 0;         // how often gates have had the round tried again
  int64_t round_step = 0;      // optimizer steps done in it
  bool round_trained = false;  // its last step is done; evaluation and gate follow
  int64_t step = 0;            // steps done over all rounds
  int64_t adam_step = 0;       // updates since the optimizer state was last reset
  int64_t schedule_start = 0;  // `step` at which the present schedule began
  int64_t skipped = 0;         // steps that were not finite
  int64_t spikes = 0;          // steps skipped for a spike
  RecentSteps recent;          // for the next spike
  int64_t skips = 0;           // entries of SkippedSteps that were known
  std::string pending_line;    // of metrics.jsonl, whose evaluation a stop has cut short
  bool has_optimizer = true;
  ForgettingMatrix matrix;
  // By round name, of the rounds begun so far: what fixes their computation, and their data.
  std::map<std::string, std::string> round_configs;
  std::map<std::string, std::string> plan_hashes;
  std::map<std::string, int64_t> micro_packs;  // where the configuration said auto
  // The layout, for a start with `auto` on as many ranks.
  int64_t ranks = 0, tensor = 1, zero = 1;
  std::string start_digest;     // of the weights the round began with
  std::vector<Parent> parents;  // what they were made of
  // What readers of the checkpoint need (train/model_source.hpp).
  std::string model_config;
  std::string tokenizer;
  std::vector<int64_t> end_of_turn;  // ids that end the turns trained so far
  std::string chat_template;         // of the round's data; "": the tokenizer's own

  // The last step whose line of metrics.jsonl is older than this state.
  int64_t logged_step() const { return pending_line.empty() ? step : step - 1; }

  nlohmann::json to_json(const Config& config) const;
  static RunState from_json(const nlohmann::json& json);
};

nlohmann::json to_json(const std::vector<Parent>& parents);

// UserError that shows the first differing line unless the rounds that `state` has begun are the
// same in `config`. Rounds not yet begun may be changed, added or removed, unless they share the
// schedule of one that has begun (optimizer_state: carry).
void check_same_rounds(const RunState& state, const Config& config);

}  // namespace rondo::train

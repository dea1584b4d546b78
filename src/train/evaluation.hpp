// Held-out losses: one row per state of the model (the base, then each round's end), one column per
// held-out source. Read down a column it shows what was learnt and what was forgotten.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/config.hpp"
#include "base/console.hpp"
#include "data/packed_set.hpp"
#include "train/config.hpp"
#include "train/step.hpp"

namespace rondo::train {

struct HeldoutScore {
  double loss = 0;      // mean over trainable tokens (or examples, by loss.average)
  double accuracy = 0;  // share of trainable tokens predicted right (greedy, teacher-forced)
  std::optional<double> exact_match{};  // share of questions answered right (train/answers.hpp)
};

using EvaluationRow = base::Named<HeldoutScore>;  // by source

const HeldoutScore* find_score(const EvaluationRow& row, const std::string& source);

nlohmann::json to_json(const EvaluationRow& row);
// "gsm8k 1.2345 (56.7%), general 2.3456 (45.6%)".
std::string in_words(const EvaluationRow& row);
EvaluationRow row_from_json(const nlohmann::json& json);

// Whether `every` falls on this step of a round (counted from 1).
bool is_due(const Interval& every, int64_t round_step, int64_t steps_per_epoch);

class Evaluator {
 public:
  struct Heldout {
    std::string source;
    const data::PackedSet* set;
  };
  Evaluator(std::vector<Heldout> heldout, data::Average average, int64_t micro_packs,
            comm::Group& group, comm::Control& control)
      : heldout_(std::move(heldout)),
        average_(average),
        micro_packs_(micro_packs),
        group_(group),
        control_(control) {}

  // Collective over the group and the control's ranks. Every held-out set, whole; nothing when any
  // rank wants to stop on the way.
  std::optional<EvaluationRow> evaluate(
      Stepper& stepper, const std::function<bool()>& stop = [] { return false; }) const;

 private:
  std::vector<Heldout> heldout_;
  data::Average average_;
  int64_t micro_packs_;
  comm::Group& group_;
  comm::Control& control_;
};

// Rows by name, in the order they were made: "base", then rounds.
class ForgettingMatrix {
 public:
  void set(const std::string& row, EvaluationRow scores);
  const EvaluationRow* row(const std::string& name) const;
  // Names in their order.
  std::vector<std::string> names() const;
  nlohmann::json to_json() const;
  static ForgettingMatrix from_json(const nlohmann::json& json);
  void print(base::Console& console) const;

 private:
  base::Named<EvaluationRow> rows_;
};

}  // namespace rondo::train

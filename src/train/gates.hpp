// Whether a round's result is good enough to go on with, by its held-out sets, and what happens
// when it is not. Pure: the same on every rank and after a restart.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/config.hpp"
#include "train/evaluation.hpp"

namespace rondo::train {

struct GateVerdict {
  bool held = true;
  std::string text;  // figures in words
  nlohmann::json json;
};
// `previous` names the row before the round's ("base" for the first). A figure that is not a number
// fails the gate. UserError when there is no earlier figure to compare with.
GateVerdict judge(const GateSection& gate, const ForgettingMatrix& matrix, const std::string& round,
                  const std::string& previous);

// Of a figure that the gate's command has printed.
GateVerdict judge_figure(const GateSection& gate, double now);

// What becomes of a round's result.
enum class Outcome {
  kKept,      // the next round goes on from it
  kEnded,     // it stands, and the run ends
  kRetried,   // set aside, and the round is tried again
  kSetAside,  // set aside for good
};
std::string_view name_of(Outcome outcome);  // "kept", "ended", "retried", "set_aside"; frozen

struct Judgement {
  Outcome outcome = Outcome::kKept;
  std::vector<GateVerdict> verdicts;  // in the order of the gates
};
// Of several gates that fail the severest says: stop, retry, rollback, then the others. `attempt`
// is that of this result, counted from 0. `figures`: by gate, what its command has printed, where
// it has one.
Judgement judge_round(const RoundSection& round, const ForgettingMatrix& matrix,
                      const std::string& previous, int64_t attempt,
                      const std::vector<nlohmann::json>& figures);

}  // namespace rondo::train

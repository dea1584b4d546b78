#include "train/gates.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "data/packing.hpp"
#include "train/outcomes.hpp"

namespace rondo::train {
namespace {

EvaluationRow row_of(double a, double b) { return {{"a", {a, 0.5}}, {"b", {b, 0.25}}}; }

// base 3.0, first 2.0, second 2.6 on a.
ForgettingMatrix matrix() {
  ForgettingMatrix all;
  all.set("base", row_of(3.0, 4.0));
  all.set("first", row_of(2.0, 4.5));
  all.set("second", row_of(2.6, 1.0));
  return all;
}

GateSection gate_on(const std::string& source, const std::string& relative_to, double allowed) {
  GateSection gate;
  gate.on = source;
  gate.max_loss_increase = allowed;
  gate.relative_to = relative_to;
  return gate;
}

TEST(Gate, ComparesWithTheRowItNames) {
  const ForgettingMatrix all = matrix();
  const auto held = [&](const std::string& relative_to, double allowed) {
    return judge(gate_on("a", relative_to, allowed), all, "second", "first").held;
  };
  EXPECT_TRUE(held("base", -0.39)) << "2.6 against 3.0";
  EXPECT_FALSE(held("base", -0.41));
  EXPECT_TRUE(held("previous", 0.61)) << "2.6 against 2.0";
  EXPECT_FALSE(held("previous", 0.59));
  EXPECT_TRUE(held("best", 0.61));
  EXPECT_FALSE(held("best", 0.59));
  EXPECT_TRUE(judge(gate_on("b", "best", -2.9), all, "second", "first").held) << "1.0 against 4.0";
  EXPECT_FALSE(judge(gate_on("b", "best", -3.1), all, "second", "first").held);
  EXPECT_TRUE(judge(gate_on("a", "previous", -0.9), all, "first", "base").held);
}

TEST(Gate, AnIncreaseOfExactlyWhatIsAllowedHolds) {
  ForgettingMatrix all;
  all.set("base", row_of(2.0, 0));
  all.set("first", row_of(2.25, 0));
  EXPECT_TRUE(judge(gate_on("a", "base", 0.25), all, "first", "base").held);
  EXPECT_FALSE(judge(gate_on("a", "base", 0.2499), all, "first", "base").held);
}

TEST(Gate, TellsItsFigures) {
  const auto verdict = judge(gate_on("a", "previous", 0.05), matrix(), "second", "first");
  EXPECT_EQ(verdict.text, "loss on a is 2.6000, previous 2.0000: change +0.6000, allowed +0.0500");
  EXPECT_EQ(verdict.json.at("held"), false);
  EXPECT_EQ(verdict.json.at("now"), 2.6);
  EXPECT_EQ(verdict.json.at("reference"), 2.0);
  EXPECT_EQ(verdict.json.at("otherwise"), "report");
}

TEST(Gate, FailsWhenALossIsNotANumber) {
  ForgettingMatrix all;
  all.set("base", row_of(2.0, std::nan("")));
  all.set("first", row_of(std::nan(""), 1.0));
  EXPECT_FALSE(judge(gate_on("a", "base", 1e9), all, "first", "base").held);
  EXPECT_FALSE(judge(gate_on("b", "base", 1e9), all, "first", "base").held);
}

TEST(Gate, WithoutAnEarlierLossIsAnErrorThatSaysWhy) {
  ForgettingMatrix all;
  all.set("base", {{"a", {2.0, 0}}});
  all.set("first", row_of(1.0, 1.0));
  for (const char* relative_to : {"base", "previous", "best"}) {
    const std::string text =
        data::user_error([&] { judge(gate_on("b", relative_to, 0), all, "first", "base"); });
    EXPECT_NE(text.find("gate of round 'first': there is no earlier held-out loss on 'b'"),
              std::string::npos)
        << text;
  }
}

TEST(Gate, TheBestIsTheLowestLossAndTheHighestAccuracyThatIsANumber) {
  ForgettingMatrix all;
  all.set("base", {{"a", {std::nan(""), 0.2}}});
  all.set("first", {{"a", {2.0, 0.6}}});
  all.set("second", {{"a", {3.0, 0.4}}});
  all.set("third", {{"a", {2.5, 0.5}}});
  EXPECT_EQ(judge(gate_on("a", "best", 0), all, "third", "second").json.at("reference"), 2.0);
  GateSection gate = gate_on("a", "best", 0);
  gate.max_loss_increase.reset();
  gate.figure = "accuracy";
  gate.max_decrease = 0.05;
  const auto verdict = judge(gate, all, "third", "second");
  EXPECT_EQ(verdict.json.at("reference"), 0.6);
  EXPECT_FALSE(verdict.held);
  gate.max_decrease = 0.15;
  EXPECT_TRUE(judge(gate, all, "third", "second").held);
}

TEST(Gate, AbsoluteBoundsCompareWithNothing) {
  ForgettingMatrix all;
  all.set("first", {{"a", {2.0, 0.6}}});
  GateSection gate;
  gate.on = "a";
  gate.max = 2.0;
  EXPECT_TRUE(judge(gate, all, "first", "base").held);
  gate.max = 1.99;
  EXPECT_FALSE(judge(gate, all, "first", "base").held);
  gate.max.reset();
  gate.figure = "accuracy";
  gate.min = 0.61;
  const auto verdict = judge(gate, all, "first", "base");
  EXPECT_FALSE(verdict.held);
  EXPECT_EQ(verdict.text, "accuracy on a is 0.6000, at least 0.61");
}

TEST(Gate, TheSeverestOfThoseThatFailDecides) {
  RoundSection round;
  round.name = "second";
  round.retry.resize(2);
  const auto outcome = [&](std::vector<std::string> failing, int64_t attempt) {
    round.gate.clear();
    for (const auto& otherwise : failing) {
      round.gate.push_back(gate_on("a", "previous", 0));
      round.gate.back().otherwise = otherwise;
    }
    round.gate.push_back(gate_on("b", "previous", 0));  // holds
    round.gate.back().otherwise = "stop";
    return judge_round(round, matrix(), "first", attempt, {}).outcome;
  };
  EXPECT_EQ(outcome({}, 0), Outcome::kKept);
  EXPECT_EQ(outcome({"report", "continue"}, 0), Outcome::kKept);
  EXPECT_EQ(outcome({"report", "rollback"}, 0), Outcome::kSetAside);
  EXPECT_EQ(outcome({"rollback", "retry"}, 0), Outcome::kRetried);
  EXPECT_EQ(outcome({"retry"}, 1), Outcome::kRetried);
  EXPECT_EQ(outcome({"retry"}, 2), Outcome::kSetAside) << "both retries were used";
  EXPECT_EQ(outcome({"retry", "rollback", "stop"}, 0), Outcome::kEnded);
}

TEST(Outcomes, AreThoseOfTheLedger) {
  const Outcomes outcomes(R"({"round": "a", "attempt": 0, "outcome": "kept"}
{"round": "b", "attempt": 0, "outcome": "retried"}
{"round": "b", "attempt": 1, "outcome": "retried"}
{"round": "c", "attempt": 0, "outcome": "set_aside"}
{"round": "old"}
{"round": "d", "attempt": 0, "outcome": "set_as)");
  EXPECT_EQ(outcomes.attempt("a"), 0);
  EXPECT_EQ(outcomes.attempt("b"), 2);
  EXPECT_FALSE(outcomes.set_aside("b"));
  EXPECT_TRUE(outcomes.set_aside("c"));
  EXPECT_FALSE(outcomes.set_aside("d")) << "the line is not whole";
  const auto allowed = [&](const char* round, int64_t attempt) {
    return outcomes.allow({{"round_name", round}, {"attempt", attempt}});
  };
  EXPECT_TRUE(allowed("a", 0));
  EXPECT_FALSE(allowed("b", 0));
  EXPECT_FALSE(allowed("b", 1));
  EXPECT_TRUE(allowed("b", 2));
  EXPECT_FALSE(allowed("c", 0));
  EXPECT_TRUE(outcomes.allow({{"round_name", "old"}})) << "saved by an earlier version";
}

}  // namespace
}  // namespace rondo::train

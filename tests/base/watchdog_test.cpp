// A phase that outlasts its budget is noticed, whatever the main thread does; nothing else is.
#include "base/watchdog.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace rondo::base {
namespace {

constexpr WatchdogSettings kSettings = {.factor = 10, .least_s = 5, .first_s = 60, .tick_s = 1};

// A process that goes from phase to phase, and ticks every second in between.
class Process {
 public:
  void enter(std::string_view phase, Budget budget = Budget::kLearned) {
    phases_.enter(phase, ++step_, budget, now_s_);
  }
  void work(int seconds) {
    for (int i = 0; i < seconds; ++i) phases_.tick(now_s_ += 1);
  }
  void be_suspended(double seconds) { now_s_ += seconds; }
  Phases::State state() const { return phases_.state(); }
  void forget() { phases_.forget(); }

 private:
  Phases phases_{kSettings};
  int64_t step_ = 0;
  double now_s_ = 100;
};

TEST(Phases, TheFirstOneHasABudgetOfItsOwn) {
  Process process;
  process.enter("step");
  EXPECT_EQ(process.state().budget_s, 60);
  process.work(60);
  EXPECT_FALSE(process.state().expired());
  process.work(1);
  EXPECT_TRUE(process.state().expired());
  EXPECT_EQ(process.state().phase, "step");
  EXPECT_EQ(process.state().step, 1);
  EXPECT_EQ(process.state().seconds, 61);
}

TEST(Phases, BudgetsAreLearnedFromTheLongest) {
  Process process;
  process.enter("step");
  process.work(3);
  process.enter("step");
  EXPECT_EQ(process.state().seconds, 0);
  EXPECT_EQ(process.state().budget_s, 30);
  process.work(1);
  process.enter("step");
  EXPECT_EQ(process.state().budget_s, 30);
}

TEST(Phases, ShortOnesHaveTheLeastBudget) {
  Process process;
  process.enter("step");
  process.enter("step");
  EXPECT_EQ(process.state().budget_s, 5);
}

TEST(Phases, EachNameLearnsForItself) {
  Process process;
  process.enter("step");
  process.work(2);
  process.enter("evaluation");
  EXPECT_EQ(process.state().budget_s, 60);
  process.work(9);
  process.enter("step");
  EXPECT_EQ(process.state().budget_s, 20);
  process.enter("evaluation");
  EXPECT_EQ(process.state().budget_s, 90);
}

TEST(Phases, AFixedBudgetOnlyGrows) {
  Process process;
  process.enter("save", Budget::kFixed);
  process.work(2);
  process.enter("save", Budget::kFixed);
  EXPECT_EQ(process.state().budget_s, 60);
  process.work(9);
  process.enter("save", Budget::kFixed);
  EXPECT_EQ(process.state().budget_s, 90);
}

TEST(Phases, WhatHasNoBudgetDoesNotExpire) {
  Process process;
  process.enter("packing", Budget::kNone);
  process.work(10000);
  EXPECT_FALSE(process.state().expired());
}

TEST(Phases, WhatIsForgottenIsLearnedAgain) {
  Process process;
  process.enter("step");
  process.work(1);
  process.enter("step");
  process.forget();
  EXPECT_EQ(process.state().budget_s, 60);
}

TEST(Phases, TimeInWhichTheProcessIsSuspendedDoesNotCount) {
  Process process;
  process.enter("step");
  process.enter("step");
  process.be_suspended(3600);
  process.work(1);
  EXPECT_FALSE(process.state().expired());
  EXPECT_EQ(process.state().seconds, 2);
  EXPECT_EQ(process.state().passed_s, 3601);
  // Nor is it learned, where the main thread is the first to run again.
  process.be_suspended(3600);
  process.enter("step");
  EXPECT_EQ(process.state().budget_s, 40);
}

// Of a process in a test: the first tick expires, or only others are asked.
constexpr WatchdogSettings kAtOnce = {.factor = 10, .least_s = 0, .first_s = 0, .tick_s = 0.001};
constexpr WatchdogSettings kNever = {.factor = 10, .least_s = 0, .first_s = 1e9, .tick_s = 0.001};

TEST(Watchdog, CallsItsHandlerWhileTheMainThreadIsStuck) {
  std::promise<Phases::State> found;
  const Watchdog watchdog(
      kAtOnce, {.stuck = [&found](const Phases::State& state) { found.set_value(state); }});
  const auto state = found.get_future().get();
  EXPECT_EQ(state.phase, "start");
  EXPECT_TRUE(state.expired());
}

TEST(Watchdog, HearsFromOthersAndNamesThePhase) {
  std::promise<Phases::State> found;
  std::atomic<bool> others = false;
  Watchdog watchdog(kNever,
                    {.stuck = [&found](const Phases::State& state) { found.set_value(state); },
                     .others_stuck = [&others] { return others.load(); }});
  watchdog.enter("save", 17);
  others = true;
  const auto state = found.get_future().get();
  EXPECT_EQ(state.phase, "save");
  EXPECT_EQ(state.step, 17);
  EXPECT_FALSE(state.expired());
}

TEST(Watchdog, IsSilentWhileThereIsProgress) {
  std::atomic<int> ticks = 0;
  Watchdog watchdog(kNever, {.stuck = [](const Phases::State&) { ADD_FAILURE(); },
                             .others_stuck =
                                 [&ticks] {
                                   ++ticks;
                                   return false;
                                 }});
  watchdog.enter("step", 1, Budget::kFixed);
  while (ticks < 10) std::this_thread::yield();
  watchdog.forget();
}

TEST(Watchdog, WithoutAFactorDoesNothing) {
  WatchdogSettings settings = kAtOnce;
  settings.factor = 0;
  Watchdog watchdog(settings, {.stuck = [](const Phases::State&) { ADD_FAILURE(); }});
  watchdog.enter("step", 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace
}  // namespace rondo::base

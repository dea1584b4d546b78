#include "train/schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace rondo::train {
namespace {

ScheduleSection schedule_of(const std::string& kind, double warmup, double final) {
  return {.kind = kind, .warmup = warmup, .final = final};
}

std::vector<double> factors(const ScheduleSection& schedule, int64_t total) {
  std::vector<double> all;
  for (int64_t step = 0; step < total; ++step) {
    all.push_back(schedule_factor(schedule, step, total));
  }
  return all;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-15) << "step " << i;
}

TEST(Schedule, WarmUpIsAShareBelowOneAndStepsFromOneOn) {
  EXPECT_EQ(warmup_steps(schedule_of("linear", 0.03, 0), 100), 3);
  EXPECT_EQ(warmup_steps(schedule_of("linear", 0.03, 0), 101), 4) << "rounded up";
  EXPECT_EQ(warmup_steps(schedule_of("linear", 0.0, 0), 100), 0);
  EXPECT_EQ(warmup_steps(schedule_of("linear", 1, 0), 100), 1);
  EXPECT_EQ(warmup_steps(schedule_of("linear", 250, 0), 1000), 250);
  EXPECT_EQ(warmup_steps(schedule_of("linear", 250, 0), 100), 100) << "never beyond the end";
}

TEST(Schedule, AShareThatIsWholeIsNotRoundedUpForTheSakeOfBinary) {
  // 0.07 * 100, 0.14 * 50 and 0.55 * 100 lie above 7, 7 and 55 in float64.
  EXPECT_EQ(warmup_steps(schedule_of("linear", 0.07, 0), 100), 7);
  EXPECT_EQ(warmup_steps(schedule_of("linear", 0.14, 0), 50), 7);
  ScheduleSection wsd = schedule_of("wsd", 0, 0);
  wsd.decay = 0.55;
  EXPECT_EQ(schedule_factor(wsd, 44, 100), 1);
  EXPECT_NEAR(schedule_factor(wsd, 45, 100), 54.0 / 55, 1e-15) << "the fall takes 55 steps";
}

TEST(Schedule, Constant) {
  expect_near(factors(schedule_of("constant", 2, 0.5), 4), {0.5, 1, 1, 1});
}

TEST(Schedule, LinearRisesToOneAndFallsToFinalAtTheLastStep) {
  expect_near(factors(schedule_of("linear", 2, 0), 6), {0.5, 1, 0.75, 0.5, 0.25, 0});
  expect_near(factors(schedule_of("linear", 0.25, 0.2), 8),
              {0.5, 1, 1 - 0.8 / 6, 1 - 1.6 / 6, 0.6, 1 - 3.2 / 6, 1 - 4.0 / 6, 0.2});
  expect_near(factors(schedule_of("linear", 0, 0.5), 2), {0.75, 0.5});
}

TEST(Schedule, CosineIsHalfWayDownInTheMiddle) {
  const double root = std::sqrt(0.5);
  expect_near(factors(schedule_of("cosine", 1, 0.1), 5),
              {1, 0.1 + 0.9 * (1 + root) / 2, 0.55, 0.1 + 0.9 * (1 - root) / 2, 0.1});
}

TEST(Schedule, StableThenDecay) {
  ScheduleSection wsd = schedule_of("wsd", 2, 0.1);
  wsd.decay = 0.3;
  expect_near(factors(wsd, 10), {0.5, 1, 1, 1, 1, 1, 1, 0.7, 0.4, 0.1});
  wsd.decay = 1;
  expect_near(factors(wsd, 4), {0.5, 1, 0.55, 0.1});
}

TEST(Schedule, HoldsItsLastValueBeyondTheEnd) {
  for (const char* kind : {"linear", "cosine", "wsd"}) {
    const ScheduleSection schedule = schedule_of(kind, 0.1, 0.05);
    EXPECT_NEAR(schedule_factor(schedule, 19, 20), 0.05, 1e-15) << kind;
    EXPECT_EQ(schedule_factor(schedule, 1000, 20), schedule_factor(schedule, 19, 20)) << kind;
  }
}

TEST(Schedule, OneStepHasTheWholeRateAfterAWarmUp) {
  for (const char* kind : {"constant", "linear", "cosine", "wsd"}) {
    EXPECT_EQ(schedule_factor(schedule_of(kind, 0.03, 0), 0, 1), 1) << kind;
  }
}

}  // namespace
}  // namespace rondo::train

// Laws: a spike is more than a factor times the median of a full window; steps that were left out
// stay left out, and no checkpoint from behind them is gone on from.
#include "train/divergence.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace rondo::train {
namespace {

using testing::HasSubstr;

RecentSteps steps_of(const std::vector<double>& losses, int64_t window) {
  RecentSteps recent;
  for (const double loss : losses) recent.add(loss, 10 * loss, window);
  return recent;
}

TEST(Spike, IsMoreThanAFactorTimesTheMedianOfTheWindow) {
  SpikeSection section;
  section.window = 4;
  section.loss = 2;
  EXPECT_TRUE(section.on());
  const RecentSteps few = steps_of({1, 1, 1}, 4);
  EXPECT_EQ(spike_of(section, few, 100, 0), "") << "the window is not full";
  const RecentSteps recent = steps_of({50, 1, 2, 4, 3}, 4);  // median 2.5 of the last four
  EXPECT_EQ(spike_of(section, recent, 5, 1e9), "");
  EXPECT_THAT(spike_of(section, recent, 5.1, 0),
              HasSubstr("the loss 5.1 is more than 2 times 2.5, the median of the last 4 steps"));
  section.grad_norm = 3;
  EXPECT_THAT(spike_of(section, recent, 1, 76), HasSubstr("the gradient norm 76"));
  EXPECT_EQ(spike_of(section, recent, 1, 75), "");
  EXPECT_FALSE(SpikeSection{}.on());
  EXPECT_EQ(spike_of(SpikeSection{}, recent, 1e9, 1e9), "");
}

TEST(Reaction, StopsSkipsOrGoesBackUpToALimit) {
  base::Console silent(false);
  Config config;
  const auto said = [&](Trouble trouble, int64_t times) -> std::string {
    try {
      react(config, trouble, "It broke.", times, silent);
    } catch (const base::SystemError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(said(Trouble::kNotFinite, 1), HasSubstr("set non_finite.action"));
  config.non_finite = {.action = "skip", .limit = 2};
  EXPECT_EQ(react(config, Trouble::kNotFinite, "", 2, silent), Reaction::kSkip);
  EXPECT_THAT(said(Trouble::kNotFinite, 3), HasSubstr("more than non_finite.limit = 2"));
  EXPECT_THAT(said(Trouble::kSpike, 1), HasSubstr("set spike.action"));
  config.spike.action = "rollback";
  EXPECT_EQ(react(config, Trouble::kSpike, "", 1, silent), Reaction::kRollback);
}

TEST(SkippedSteps, AreReadBackAndTornLinesLeftOut) {
  const SkippedSteps::Entry entry = {1, 0, 7, 8, "spike", "it \"jumped\""};
  const std::string line = SkippedSteps::line_of(entry);
  const SkippedSteps read(line + "\n" + line.substr(0, line.size() / 2));
  EXPECT_EQ(read.count(), 1);
  EXPECT_EQ(read.count(Trouble::kSpike), 1);
  EXPECT_EQ(read.count(Trouble::kNotFinite), 0);
  EXPECT_TRUE(read.contains(1, 0, 7));
  EXPECT_TRUE(read.contains(1, 0, 8));
  EXPECT_FALSE(read.contains(1, 0, 6));
  EXPECT_FALSE(read.contains(1, 0, 9));
  EXPECT_FALSE(read.contains(0, 0, 7));
  EXPECT_FALSE(read.contains(1, 1, 7)) << "another attempt at the round";
}

TEST(SkippedSteps, AllowNoCheckpointFromBehindThem) {
  SkippedSteps skips;
  skips.add({1, 0, 7, 8, "spike", ""});
  const auto allowed = [&](int64_t round, int64_t round_step, int64_t known) {
    return skips.allow({{"round", round}, {"round_step", round_step}, {"skips", known}});
  };
  EXPECT_TRUE(allowed(0, 99, 0)) << "the round before";
  EXPECT_TRUE(allowed(1, 7, 0)) << "steps 0 to 6 are done";
  EXPECT_FALSE(allowed(1, 8, 0));
  EXPECT_FALSE(allowed(2, 0, 0)) << "a later round began with what is given up";
  EXPECT_TRUE(allowed(1, 8, 1)) << "saved after the run had gone back";
  EXPECT_TRUE(skips.allow({{"round", 0}, {"round_step", 1}})) << "saved by an earlier version";
}

}  // namespace
}  // namespace rondo::train

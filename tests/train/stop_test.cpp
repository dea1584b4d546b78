// Laws: a signal, the file STOP or the end of the time ask for a stop; the file is gone once it was
// met; enough time is left for what the last steps and saves took.
#include "train/stop.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>

#include "base/error.hpp"
#include "base/file.hpp"
#include "support/temp_folder.hpp"
#include "train/starts.hpp"

namespace rondo::train {
namespace {

using testing::HasSubstr;
using Clock = StopRequests::Clock;

StopRequests::Settings settings(std::string file) {
  return {.signalled = [] { return false; }, .file = std::move(file), .end = {}};
}

TEST(StopRequests, ComeFromASignalOnAnyRank) {
  auto mine = settings("");
  bool asked = false;
  mine.signalled = [&] { return asked; };
  StopRequests stop(mine);
  EXPECT_EQ(stop.reason(), "");
  asked = true;
  EXPECT_EQ(stop.reason(), "a signal");
  stop.met();  // without a file to remove
}

TEST(StopRequests, ComeFromAFileThatIsGoneOnceMet) {
  const test::TempFolder folder;
  const std::string file = folder / "STOP";
  EXPECT_EQ(StopRequests(settings(file)).reason(), "");
  base::write_text_durably(file, "");
  StopRequests stop(settings(file));
  EXPECT_THAT(stop.reason(), HasSubstr("STOP"));
  stop.met();
  EXPECT_FALSE(std::filesystem::exists(file));
  EXPECT_EQ(StopRequests(settings(file)).reason(), "");
}

TEST(StopRequests, ComeInTimeForTheLastStepsAndSave) {
  auto mine = settings("/nowhere/STOP");
  mine.end = Clock::now() + std::chrono::seconds(1000);
  mine.total_s = 1000;
  StopRequests stop(mine);
  EXPECT_DOUBLE_EQ(stop.lead_s(), 30);
  EXPECT_EQ(stop.reason(), "");
  stop.step_took(200);
  stop.save_took(100);
  EXPECT_DOUBLE_EQ(stop.lead_s(), 630);
  EXPECT_EQ(stop.reason(), "");
  stop.step_took(10);
  EXPECT_DOUBLE_EQ(stop.lead_s(), 2 * 180 + 230) << "the slowest of late counts";
  stop.step_took(400);
  EXPECT_THAT(stop.reason(), HasSubstr("are left of its time"));
  mine.total_s = 20;
  EXPECT_DOUBLE_EQ(StopRequests(mine).lead_s(), 1) << "a short run keeps most of its time";
}

TEST(SecondsLeft, AreOfTheRunAndOfTheJob) {
  Config config;
  const auto now = Clock::now();
  EXPECT_FALSE(seconds_left(config, now, "").has_value());
  config.run.max_minutes = 2;
  EXPECT_NEAR(*seconds_left(config, now - std::chrono::seconds(20), ""), 100, 5);
  EXPECT_NEAR(*seconds_left(config, now, std::to_string(std::time(nullptr) + 50)), 50, 5);
  EXPECT_NEAR(*seconds_left(config, now, std::to_string(std::time(nullptr) + 5000)), 120, 5);
  EXPECT_THROW(seconds_left(config, now, "2026-11-26T10:00:00"), base::UserError);
}

TEST(Starts, AreCountedWhileNothingChanges) {
  const test::TempFolder folder;
  const std::string path = folder / "starts.json";
  EXPECT_EQ(count_starts(path, "0 0", "a"), 0);
  EXPECT_EQ(count_starts(path, "0 0", "a"), 1);
  EXPECT_EQ(count_starts(path, "0 0", "a"), 2);
  EXPECT_EQ(count_starts(path, "0 5", "a"), 0) << "progress";
  EXPECT_EQ(count_starts(path, "0 5", "a"), 1);
  EXPECT_EQ(count_starts(path, "0 5", "b"), 0) << "another configuration or program";
  forget_starts(path);
  EXPECT_EQ(count_starts(path, "0 5", "b"), 0);
  for (const char* torn : {"", "{", "[]", "{\"position\": 3}", "{\"position\": \"0 5\"}"}) {
    base::write_text_durably(path, torn);
    EXPECT_EQ(count_starts(path, "0 5", "b"), 0) << torn;
  }
  forget_starts(path);
  forget_starts(path);
}

}  // namespace
}  // namespace rondo::train

// Ranks that make no progress meet through files: one of them tells what all have reported.
#include "train/hang_reports.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "base/file.hpp"
#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"

namespace rondo::train {
namespace {

const base::Phases::State& stuck() {
  static const base::Phases::State state = {
      .phase = "step", .step = 12, .seconds = 31, .budget_s = 30, .passed_s = 31};
  return state;
}

// The ranks of a world of `size` report, but for one, `first` before the others; what each of them
// is to tell.
std::vector<std::string> meet(const std::string& folder, int size, int silent, int first,
                              double seconds) {
  std::vector<std::string> told(static_cast<size_t>(size));
  comm::LocalWorld::run(size, [&](comm::Group& group, comm::Control& control) {
    const auto recorders = std::make_shared<comm::FlightRecorders>();
    group.list_in(recorders);
    const HangReports reports(folder, control, "node");
    EXPECT_FALSE(reports.any());
    control.barrier();  // before the first report
    if (group.rank() == silent) return;
    while (group.rank() != first && !reports.any()) std::this_thread::yield();
    auto& text = told[static_cast<size_t>(group.rank())];
    text = reports.meet(reports.own(stuck(), *recorders), seconds);
    EXPECT_TRUE(reports.any());
    if (text.empty()) {
      EXPECT_TRUE(reports.wait_for_told(60));
      return;
    }
    EXPECT_NE(text.find(reports.folder()), std::string::npos);
    reports.told(text);
    EXPECT_EQ(base::read_text(reports.folder() + "/summary.txt"), text);
    EXPECT_TRUE(reports.wait_for_told(60));
    EXPECT_EQ(reports.meet(reports.own(stuck(), *recorders), 60), "");  // late
  });
  return told;
}

std::vector<int> tellers(const std::vector<std::string>& told) {
  std::vector<int> ranks;
  for (size_t rank = 0; rank < told.size(); ++rank) {
    if (!told[rank].empty()) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

TEST(HangReports, OneRankTellsWhenAllHaveReported) {
  const test::TempFolder folder;
  // Nobody waits for the end of the time.
  const auto told = meet(folder.path(), 3, -1, 2, 60);
  EXPECT_EQ(tellers(told), std::vector<int>{0});
  EXPECT_NE(told[0].find("reports of 3 of 3 ranks"), std::string::npos) << told[0];
}

TEST(HangReports, ASilentRankIsNamed) {
  const test::TempFolder folder;
  const auto told = meet(folder.path(), 3, 1, 2, 0.5);
  EXPECT_EQ(tellers(told), std::vector<int>{0});
  EXPECT_NE(told[0].find("rank 1 (node, pid "), std::string::npos) << told[0];
  EXPECT_NE(told[0].find("reports of 2 of 3 ranks"), std::string::npos) << told[0];
}

TEST(HangReports, TheNextRankTellsWhereTheFirstIsSilent) {
  const test::TempFolder folder;
  const auto told = meet(folder.path(), 3, 0, 1, 0.5);
  EXPECT_EQ(tellers(told), std::vector<int>{1});
  EXPECT_NE(told[1].find("rank 0 (node, pid "), std::string::npos) << told[1];
}

TEST(HangReports, AFolderThatCannotBeWrittenIsNamed) {
  const test::TempFolder folder;
  base::write_text_durably(folder / "hangs", "a file");
  comm::Control alone(comm::make_self_group());
  const HangReports reports(folder.path(), alone, "node");
  EXPECT_FALSE(reports.any());
  const std::string text = reports.meet(reports.own(stuck(), comm::FlightRecorders()));
  EXPECT_NE(text.find("no report of it can be written to "), std::string::npos) << text;
  reports.told(text);
}

}  // namespace
}  // namespace rondo::train

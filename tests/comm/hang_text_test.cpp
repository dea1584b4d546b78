// The text names the rank that holds up the others, whatever they wait for.
#include "comm/hang_text.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace rondo::comm {
namespace {

OperationReport operation(int64_t sequence, const std::string& state) {
  return {.sequence = sequence,
          .operation = "sum_scatter",
          .elements = 4096,
          .type = "float32",
          .purpose = "gradients",
          .bytes = 16384,
          .state = state,
          .seconds = state == OperationReport::kDone ? 0.1 : 31,
          .started_s_ago = 131 - static_cast<double>(sequence)};
}

// The operations up to `last` of a group are done, but the last one is in `state`.
GroupReport group(const std::string& name, const std::vector<int>& ranks, int64_t last,
                  const std::string& state) {
  GroupReport group = {.name = name, .ranks = ranks, .operations = {}};
  for (int64_t i = 1; i < last; ++i) {
    group.operations.push_back(operation(i, OperationReport::kDone));
  }
  group.operations.push_back(operation(last, state));
  return group;
}

RankReport report(int rank, std::vector<GroupReport> groups) {
  return {.rank = rank,
          .host = fmt::format("n{}", rank),
          .pid = 100 + rank,
          .phase = "step",
          .step = 12,
          .seconds = 31,
          .budget_s = 30,
          .expired = rank == 2,
          .groups = std::move(groups)};
}

std::vector<RankPlace> places(int size) {
  std::vector<RankPlace> places;
  for (int rank = 0; rank < size; ++rank) places.push_back({fmt::format("n{}", rank), 100 + rank});
  return places;
}

constexpr const char* kWaiting = OperationReport::kWaiting;
constexpr const char* kDone = OperationReport::kDone;
constexpr const char* kUnderWay = OperationReport::kUnderWay;
constexpr const char* kWhere = "group data, operation 7: sum_scatter of 4096 float32 (gradients)\n";
constexpr const char* kBeginning =
    "no progress: rank 2 has been in phase 'step 12' for 31 s, longer than its budget of 30 s\n";

// Reports of all of three ranks but those without a state, each having come to an operation of one
// group.
std::string text_of(const std::vector<std::pair<int64_t, std::string>>& states) {
  std::vector<RankReport> reports;
  for (size_t rank = 0; rank < states.size(); ++rank) {
    const auto& [last, state] = states[rank];
    if (state.empty()) continue;
    reports.push_back(report(static_cast<int>(rank), {group("data", {0, 1, 2}, last, state)}));
  }
  return hang_text(reports, places(3));
}

TEST(HangText, NamesASilentRank) {
  EXPECT_EQ(
      text_of({{7, kWaiting}, {0, ""}, {7, kWaiting}}),
      fmt::format("{}rank 1 (n1, pid 101) has made no report: dead, stopped, or cut off from the "
                  "run folder; ranks 0, 2 wait for it in {}Look at those nodes and "
                  "processes.\n",
                  kBeginning, kWhere));
}

TEST(HangText, NamesARankAtOtherWork) {
  EXPECT_EQ(text_of({{7, kWaiting}, {6, kDone}, {7, kWaiting}}),
            fmt::format("{}rank 1 (n1, pid 101) is in no collective: phase 'step 12' for 31 s, and "
                        "has come to operation 6 of group data; ranks 0, 2 wait for it in {}Look "
                        "at what it does there; raise watchdog.least_s when it was only slow.\n",
                        kBeginning, kWhere));
}

TEST(HangText, NamesARankThatHasStartedTheOperationAndGivesItNoProgress) {
  const std::string text = text_of({{7, kWaiting}, {7, kUnderWay}, {7, kWaiting}});
  EXPECT_NE(text.find("rank 1 (n1, pid 101) is in no collective"), std::string::npos) << text;
  EXPECT_NE(text.find("to operation 7 of group data; ranks 0, 2 wait"), std::string::npos) << text;
}

TEST(HangText, NamesARankBehindInAnotherGroup) {
  const std::vector<RankReport> reports = {
      report(0, {group("control", {0, 1, 2}, 3, kDone), group("data", {0, 1, 2}, 7, kWaiting)}),
      report(1, {group("control", {0, 1, 2}, 4, kWaiting), group("data", {0, 1, 2}, 6, kDone)}),
      report(2, {group("control", {0, 1, 2}, 3, kDone), group("data", {0, 1, 2}, 7, kWaiting)})};
  EXPECT_EQ(hang_text(reports, places(3)),
            fmt::format("{}ranks wait for each other in different operations, by a bug in rondo or "
                        "a message that the network has lost:\n"
                        "rank 1 waits in group control, operation 4: sum_scatter of 4096 float32 "
                        "(gradients)\n"
                        "ranks 0, 2 wait in {}",
                        kBeginning, kWhere));
}

TEST(HangText, FollowsAChainToItsEnd) {
  // 0 waits for 1, which waits for 2, which works.
  const std::vector<RankReport> reports = {
      report(0, {group("tensor", {0, 1}, 5, kWaiting)}),
      report(1, {group("tensor", {0, 1}, 4, kDone), group("copies", {1, 2}, 9, kWaiting)}),
      report(2, {group("copies", {1, 2}, 8, kDone)})};
  const std::string text = hang_text(reports, places(3));
  EXPECT_NE(text.find("rank 2 (n2, pid 102) is in no collective"), std::string::npos) << text;
  EXPECT_NE(text.find("; rank 1 waits for it in group copies, operation 9"), std::string::npos);
  EXPECT_EQ(text.find("rank 1 (n1"), std::string::npos) << text;
}

TEST(HangText, GroupsOfOtherRanksAreNotCompared) {
  // Two groups of one name, at different places.
  const std::vector<RankReport> reports = {report(0, {group("tensor", {0, 1}, 5, kWaiting)}),
                                           report(1, {group("tensor", {0, 1}, 5, kWaiting)}),
                                           report(2, {group("tensor", {2, 3}, 4, kWaiting)}),
                                           report(3, {group("tensor", {2, 3}, 4, kWaiting)})};
  const std::string text = hang_text(reports, places(4));
  EXPECT_NE(text.find("look at the network"), std::string::npos) << text;
}

TEST(HangText, NamesRanksInDifferentOperations) {
  std::vector<RankReport> reports;
  for (int rank = 0; rank < 3; ++rank) {
    reports.push_back(report(rank, {group("data", {0, 1, 2}, 7, kWaiting)}));
  }
  reports[1].groups[0].operations.back().operation = "all_gather";
  const std::string text = hang_text(reports, places(3));
  EXPECT_EQ(text,
            fmt::format("{}ranks are in different operations at the same place, a bug in rondo:\n"
                        "rank 1 waits in group data, operation 7: all_gather of 4096 float32 "
                        "(gradients)\n"
                        "ranks 0, 2 wait in {}",
                        kBeginning, kWhere));
}

TEST(HangText, SuspectsTheNetworkWhenAllAreAtTheSameOperation) {
  EXPECT_EQ(
      text_of({{7, kWaiting}, {7, kWaiting}, {7, kWaiting}}),
      fmt::format("{}ranks 0, 1, 2 wait in {}All have come to the same operation: look at the "
                  "network between them.\n",
                  kBeginning, kWhere));
}

TEST(HangText, SuspectsTheFileSystemWhenNobodyWaits) {
  std::vector<RankReport> reports;
  for (int rank = 0; rank < 2; ++rank) {
    reports.push_back(report(rank, {group("data", {0, 1}, 7, kDone)}));
    reports.back().phase = "save";
  }
  EXPECT_EQ(hang_text(reports, places(2)),
            "no progress\n"
            "no rank waits for another in a collective:\n"
            "rank 0 (n0, pid 100): phase 'save, step 12' for 31 s\n"
            "rank 1 (n1, pid 101): phase 'save, step 12' for 31 s\n"
            "Look at the file system of the run.\n");
}

TEST(HangText, StaysShortForManyRanks) {
  const int size = 1000;
  std::vector<int> all(size);
  std::iota(all.begin(), all.end(), 0);
  std::vector<RankReport> reports;
  for (int rank = 0; rank < 500; ++rank) {
    reports.push_back(report(rank, {group("data", all, 7, kWaiting)}));
  }
  const std::string text = hang_text(reports, places(size));
  EXPECT_LT(text.size(), 2000U) << text;
  EXPECT_NE(text.find("the same of 496 others\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace rondo::comm

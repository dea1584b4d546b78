// A report says what the flight recorders of a rank hold, and reads back as it was written.
#include "comm/rank_report.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "base/error.hpp"
#include "comm/group.hpp"
#include "comm/local_world.hpp"

namespace rondo::comm {
namespace {

Record record(int64_t sequence, Clock::time_point started) {
  return {.call = {.sequence = sequence,
                   .elements = 10,
                   .root = 2,
                   .operation = Operation::kBroadcast,
                   .type = at::kLong},
          .purpose = Purpose::kWeights,
          .bytes = 80,
          .started = started,
          .blocks = true};
}

RankReport example() {
  const auto recorder = std::make_shared<FlightRecorder>();
  const auto at = [](int seconds) { return Clock::time_point(std::chrono::seconds(seconds)); };
  for (int i = 1; i <= 3; ++i) recorder->add(record(i, at(10 * i)));
  recorder->set_done(1, at(12));
  recorder->set_waited(1, 1.5);
  recorder->set_blocks(2, false);
  FlightRecorders recorders;
  recorders.add("shard", {0, 3, 6}, recorder);
  return {.rank = 3,
          .host = "n7",
          .pid = 4242,
          .phase = "step",
          .step = 12,
          .seconds = 31,
          .budget_s = 30,
          .expired = true,
          .groups = report_groups(recorders, at(40))};
}

TEST(RankReport, SaysWhatTheRecordersHold) {
  const RankReport report = example();
  ASSERT_EQ(report.groups.size(), 1U);
  const GroupReport& group = report.groups[0];
  EXPECT_EQ(group.name, "shard");
  EXPECT_EQ(group.ranks, (std::vector<int>{0, 3, 6}));
  EXPECT_EQ(group.last(), 3);
  ASSERT_EQ(group.operations.size(), 3U);
  const OperationReport& first = group.operations[0];
  EXPECT_EQ(first.sequence, 1);
  EXPECT_EQ(first.call(), "broadcast of 10 int64 from root 2");
  EXPECT_EQ(first.purpose, "weights");
  EXPECT_EQ(first.bytes, 80);
  EXPECT_EQ(first.state, "done");
  EXPECT_EQ(first.seconds, 2);
  EXPECT_EQ(first.started_s_ago, 30);
  EXPECT_EQ(group.operations[1].state, "under way");
  EXPECT_EQ(group.operations[1].seconds, 20);
  EXPECT_EQ(group.operations[2].state, "waiting");
}

TEST(RankReport, ReadsBackAsItWasWritten) {
  RankReport report = example();
  auto json = to_json(report);
  EXPECT_EQ(to_json(rank_report_from(nlohmann::json::parse(json.dump()))), json);
  report.budget_s = std::numeric_limits<double>::infinity();
  json = to_json(report);
  EXPECT_TRUE(json["budget_s"].is_null());
  EXPECT_EQ(rank_report_from(json).budget_s, report.budget_s);
  json["version"] = 2;
  EXPECT_THROW(rank_report_from(json), base::UserError);
  json.erase("format");
  EXPECT_THROW(rank_report_from(json), base::UserError);
  EXPECT_THROW(rank_report_from(nlohmann::json::array()), base::UserError);
}

TEST(FlightRecorders, ListTheGroupsThatLive) {
  LocalWorld::run(4, [](Group& world) {
    const auto recorders = std::make_shared<FlightRecorders>();
    world.list_in(recorders);
    const auto pair = world.split("pair", world.rank() / 2, world.rank());
    const auto alone = world.split("alone", world.rank(), 0);
    { const auto gone = world.split("gone", 0, world.rank()); }
    const auto entries = recorders->list();
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(entries[0].group, "world");
    EXPECT_EQ(entries[0].ranks, (std::vector<int>{0, 1, 2, 3}));
    EXPECT_EQ(entries[1].group, "pair");
    const int first = world.rank() / 2 * 2;
    EXPECT_EQ(entries[1].ranks, (std::vector<int>{first, first + 1}));
  });
}

TEST(FlightRecorders, CanBeReadWhileTheirGroupsWork) {
  LocalWorld::run(2, [](Group& world) {
    const auto recorders = std::make_shared<FlightRecorders>();
    world.list_in(recorders);
    std::atomic<bool> end = false;
    std::thread reader([&] {
      while (!end) {
        for (const auto& group : report_groups(*recorders, Clock::now())) {
          for (const auto& operation : group.operations) EXPECT_EQ(operation.elements, 3);
        }
      }
    });
    const at::Tensor tensor = at::zeros({3});
    for (int i = 0; i < 200; ++i) {
      const auto part = world.split("part", 0, world.rank());
      part->all_sum(tensor, Purpose::kOther).wait();
      world.all_max(tensor, Purpose::kOther).wait();
    }
    end = true;
    reader.join();
  });
}

TEST(FlightRecorders, ShowWhereARankWaits) {
  std::atomic<bool> seen = false;
  LocalWorld::run(2, [&seen](Group& world) {
    const auto recorders = std::make_shared<FlightRecorders>();
    world.list_in(recorders);
    const at::Tensor tensor = at::zeros({3});
    // Rank 1 comes only when rank 0 is seen waiting.
    if (world.rank() == 1) {
      while (!seen) std::this_thread::yield();
      world.all_sum(tensor, Purpose::kOther).wait();
      return;
    }
    std::thread reader([&] {
      for (;;) {
        const auto groups = report_groups(*recorders, Clock::now());
        if (groups[0].last() == 1 && groups[0].operations[0].state == "waiting") break;
        std::this_thread::yield();
      }
      seen = true;
    });
    world.all_sum(tensor, Purpose::kOther).wait();
    reader.join();
    EXPECT_EQ(report_groups(*recorders, Clock::now())[0].operations[0].state, "done");
  });
}

}  // namespace
}  // namespace rondo::comm

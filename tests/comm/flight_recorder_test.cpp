// The flight recorder keeps the last operations of a group, in order and with their times.
#include "comm/flight_recorder.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "comm/group.hpp"
#include "comm/local_world.hpp"

namespace rondo::comm {
namespace {

using std::chrono::milliseconds;

Record record(int64_t sequence) {
  return {.call = {.sequence = sequence, .elements = 4096, .operation = Operation::kSumScatter},
          .purpose = Purpose::kGradients,
          .bytes = 16384,
          .started = Clock::time_point(milliseconds(1000))};
}

TEST(FlightRecorder, KeepsTheLastOperationsInOrder) {
  FlightRecorder recorder;
  EXPECT_EQ(recorder.next(), 1);
  EXPECT_TRUE(recorder.recent().empty());
  const int64_t count = FlightRecorder::kKept + 10;
  for (int64_t i = 1; i <= count; ++i) {
    recorder.add(record(i));
    if (i == 3) {
      EXPECT_EQ(recorder.recent().size(), 3U);
    }
  }
  const auto recent = recorder.recent();
  ASSERT_EQ(recent.size(), size_t{FlightRecorder::kKept});
  for (size_t i = 0; i < recent.size(); ++i) {
    EXPECT_EQ(recent[i].call.sequence, static_cast<int64_t>(i) + 11);
  }
  EXPECT_EQ(recorder.next(), count + 1);
}

TEST(FlightRecorder, AnOperationThatIsNoLongerKeptChangesNothing) {
  FlightRecorder recorder;
  for (int64_t i = 1; i <= FlightRecorder::kKept + 1; ++i) recorder.add(record(i));
  recorder.set_done(1, Clock::time_point(milliseconds(2000)));
  recorder.set_waited(1, 1.0);
  recorder.set_done(2, Clock::time_point(milliseconds(2000)));
  const auto recent = recorder.recent();
  EXPECT_TRUE(recent.front().done.has_value());
  EXPECT_FALSE(recent.back().done.has_value());
  EXPECT_FALSE(recent.back().waited_s.has_value());
}

TEST(FlightRecorder, ReadsAsWords) {
  const auto at = [](int ms) { return Clock::time_point(milliseconds(ms)); };
  Record one = record(17);
  const std::string what = "shard #17 sum_scatter 4096 float32 gradients 16.00 KiB";
  EXPECT_EQ(to_text(one, "shard", at(3500)), what + ", under way for 2.50 s");
  one.done = at(1002);
  EXPECT_EQ(to_text(one, "shard", at(3500)), what + ", done after 2.000 ms, not waited for");
  one.waited_s = 0.12;
  EXPECT_EQ(to_text(one, "shard", at(3500)), what + ", waited for 0.12 s");
}

// What any backend brings into the recorder of its group.
void check_recent(Group& group) {
  const int size = group.size();
  at::Tensor small = at::zeros({2}, at::kLong);
  at::Tensor large = at::zeros({2 * size}, at::kLong);
  group.all_sum(small, Purpose::kMetrics).wait();
  group.all_max(small, Purpose::kControl).wait();
  group.sum_scatter(small, large, Purpose::kGradients).wait();
  group.all_gather(large, small, Purpose::kWeights).wait();
  group.broadcast(small, size - 1, Purpose::kOther).wait();
  auto work = group.all_to_all(at::empty_like(large), large, Purpose::kActivations);
  auto recent = group.recent();
  ASSERT_EQ(recent.size(), 6U);
  EXPECT_FALSE(recent.back().waited_s.has_value());
  work.wait();
  recent = group.recent();
  const std::array operations = {Operation::kAllSum,     Operation::kAllMax,
                                 Operation::kSumScatter, Operation::kAllGather,
                                 Operation::kBroadcast,  Operation::kAllToAll};
  const std::array purposes = {Purpose::kMetrics, Purpose::kControl, Purpose::kGradients,
                               Purpose::kWeights, Purpose::kOther,   Purpose::kActivations};
  for (size_t i = 0; i < recent.size(); ++i) {
    const Record& record = recent[i];
    const bool is_small = i == 0 || i == 1 || i == 4;
    EXPECT_EQ(record.call.sequence, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(record.call.operation, operations[i]);
    EXPECT_EQ(record.call.type, at::kLong);
    EXPECT_EQ(record.call.elements, is_small ? 2 : 2 * size);
    EXPECT_EQ(record.call.root, i == 4 ? size - 1 : -1);
    EXPECT_EQ(record.purpose, purposes[i]);
    EXPECT_EQ(record.bytes, 8 * record.call.elements);
    ASSERT_TRUE(record.done && record.waited_s);
    EXPECT_LE(record.started, *record.done);
    EXPECT_GE(*record.waited_s, 0);
    if (i > 0) {
      EXPECT_LE(*recent[i - 1].done, record.started);
    }
  }
  const std::string text = group.recent_text();
  EXPECT_EQ(std::ranges::count(text, '\n'), 6);
  EXPECT_TRUE(text.starts_with(group.name() + " #1 all_sum 2 int64 metrics 16 B, waited for "));
}

TEST(FlightRecorder, IsFilledByEveryGroup) {
  check_recent(*make_self_group());
  for (const int size : {2, 3}) LocalWorld::run(size, check_recent);
}

}  // namespace
}  // namespace rondo::comm

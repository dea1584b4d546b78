// Flight recorder: the last operations of a group, kept at all times for reports of failures.
//
// A ring of fixed size: recording neither allocates nor reads the clock. Filled by the thread of
// its Group; any thread may read it, even while that one is stuck in an operation.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/call.hpp"

namespace rondo::comm {

using Clock = std::chrono::steady_clock;

inline double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

struct Record {
  Call call;
  Purpose purpose = Purpose::kOther;
  int64_t bytes = 0;  // of the larger tensor
  Clock::time_point started{};
  // The host is in the call that starts it, or in wait().
  bool blocks = false;
  // When wait() returned, or poll() found it done before.
  std::optional<Clock::time_point> done = std::nullopt;
  // Time in wait(), once it has returned.
  std::optional<double> waited_s = std::nullopt;
};

class FlightRecorder {
 public:
  static constexpr int64_t kKept = 256;

  // The number of the next operation; the first is 1.
  int64_t next() const;

  // record.call.sequence is next().
  void add(const Record& record);
  // Each: nothing where the operation is no longer kept.
  void set_blocks(int64_t sequence, bool blocks);
  void set_done(int64_t sequence, Clock::time_point time);
  void set_waited(int64_t sequence, double waited_s);

  // At most kKept and at most `most`, the oldest first.
  std::vector<Record> recent(int64_t most = kKept) const;

 private:
  static size_t slot_of(int64_t sequence) { return static_cast<size_t>(sequence % kKept); }
  // Null when it is no longer kept.
  Record* find(int64_t sequence);

  mutable std::mutex mutex_;  // of what follows
  std::array<Record, kKept> ring_;
  int64_t last_ = 0;
};

// "shard #17 sum_scatter 4096 float32 gradients 16.00 KiB, waited for 0.12 s"; otherwise "done
// after TIME, not waited for" or "under way for TIME".
std::string to_text(const Record& record, std::string_view group, Clock::time_point now);

}  // namespace rondo::comm

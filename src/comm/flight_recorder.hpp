// Flight recorder: the last operations of a group, kept at all times for reports of failures.
//
// A ring of fixed size: recording neither allocates nor reads the clock. Belongs to its Group and
// is used by the thread of that group alone.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
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
  // When wait() returned, or poll() found it done before.
  std::optional<Clock::time_point> done = std::nullopt;
  // Time in wait(), once it has returned.
  std::optional<double> waited_s = std::nullopt;
};

class FlightRecorder {
 public:
  static constexpr int64_t kKept = 256;

  // The number of the next operation; the first is 1.
  int64_t next() const { return last_ + 1; }

  // record.call.sequence is next().
  void add(const Record& record);
  // Nothing where the operation is no longer kept.
  void set_done(int64_t sequence, Clock::time_point time);
  void set_waited(int64_t sequence, double waited_s);

  // At most kKept, the oldest first.
  std::vector<Record> recent() const;

 private:
  static size_t slot_of(int64_t sequence) { return static_cast<size_t>(sequence % kKept); }

  std::array<Record, kKept> ring_;
  int64_t last_ = 0;
};

// "shard #17 sum_scatter 4096 float32 gradients 16.00 KiB, waited for 0.12 s"; otherwise "done
// after TIME, not waited for" or "under way for TIME".
std::string to_text(const Record& record, std::string_view group, Clock::time_point now);

}  // namespace rondo::comm

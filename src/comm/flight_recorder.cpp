#include "comm/flight_recorder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/units.hpp"

namespace rondo::comm {

void FlightRecorder::add(const Record& record) {
  RONDO_CHECK(record.call.sequence == next());
  ring_[slot_of(record.call.sequence)] = record;
  last_ = record.call.sequence;
}

void FlightRecorder::set_done(int64_t sequence, Clock::time_point time) {
  Record& record = ring_[slot_of(sequence)];
  if (record.call.sequence == sequence) record.done = time;
}

void FlightRecorder::set_waited(int64_t sequence, double waited_s) {
  Record& record = ring_[slot_of(sequence)];
  if (record.call.sequence == sequence) record.waited_s = waited_s;
}

std::vector<Record> FlightRecorder::recent() const {
  std::vector<Record> records;
  for (int64_t sequence = std::max<int64_t>(1, next() - kKept); sequence < next(); ++sequence) {
    records.push_back(ring_[slot_of(sequence)]);
  }
  return records;
}

namespace {

std::string duration(double seconds) {
  return seconds < 0.1 ? fmt::format("{:.3f} ms", seconds * 1e3) : fmt::format("{:.2f} s", seconds);
}

}  // namespace

std::string to_text(const Record& record, std::string_view group, Clock::time_point now) {
  const Call& call = record.call;
  std::string text = fmt::format("{} #{} {} {} {} {} {}", group, call.sequence,
                                 name_of(call.operation), call.elements, name_of(call.type),
                                 name_of(record.purpose), base::format_bytes(record.bytes));
  if (record.waited_s) return text + ", waited for " + duration(*record.waited_s);
  if (!record.done)
    return text + ", under way for " + duration(seconds_between(record.started, now));
  return fmt::format("{}, done after {}, not waited for", text,
                     duration(seconds_between(record.started, *record.done)));
}

}  // namespace rondo::comm

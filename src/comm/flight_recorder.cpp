#include "comm/flight_recorder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/units.hpp"

namespace rondo::comm {

int64_t FlightRecorder::next() const {
  const std::scoped_lock hold(mutex_);
  return last_ + 1;
}

void FlightRecorder::add(const Record& record) {
  const std::scoped_lock hold(mutex_);
  RONDO_CHECK(record.call.sequence == last_ + 1);
  ring_[slot_of(record.call.sequence)] = record;
  last_ = record.call.sequence;
}

Record* FlightRecorder::find(int64_t sequence) {
  Record& record = ring_[slot_of(sequence)];
  return record.call.sequence == sequence ? &record : nullptr;
}

void FlightRecorder::set_blocks(int64_t sequence, bool blocks) {
  const std::scoped_lock hold(mutex_);
  if (Record* record = find(sequence)) record->blocks = blocks;
}

void FlightRecorder::set_done(int64_t sequence, Clock::time_point time) {
  const std::scoped_lock hold(mutex_);
  if (Record* record = find(sequence)) record->done = time;
}

void FlightRecorder::set_waited(int64_t sequence, double waited_s) {
  const std::scoped_lock hold(mutex_);
  Record* record = find(sequence);
  if (record == nullptr) return;
  record->waited_s = waited_s;
  record->blocks = false;
}

std::vector<Record> FlightRecorder::recent(int64_t most) const {
  const std::scoped_lock hold(mutex_);
  std::vector<Record> records;
  const int64_t count = std::min({last_, kKept, most});
  for (int64_t sequence = last_ - count + 1; sequence <= last_; ++sequence) {
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

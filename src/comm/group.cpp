#include "comm/group.hpp"

#include <ATen/ATen.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>

#include "base/error.hpp"

namespace rondo::comm {

namespace {

// One line each, with `indent` before it and an end after it.
std::string lines_of(std::span<const Record> records, const std::string& group,
                     std::string_view indent) {
  const auto now = Clock::now();
  std::string text;
  for (const Record& record : records) {
    text += fmt::format("{}{}\n", indent, to_text(record, group, now));
  }
  return text;
}

}  // namespace

Traffic& Traffic::operator+=(const Traffic& other) {
  calls += other.calls;
  bytes += other.bytes;
  start_s += other.start_s;
  waited_s += other.waited_s;
  flight_s += other.flight_s;
  return *this;
}

Traffic Traffic::operator-(const Traffic& earlier) const {
  return {calls - earlier.calls, bytes - earlier.bytes, start_s - earlier.start_s,
          waited_s - earlier.waited_s, flight_s - earlier.flight_s};
}

Flight::Flight(const Call& call, End end, Clock::time_point began, Clock::time_point started,
               Traffic* traffic, FlightRecorder* recorder, const std::string* group)
    : call_(call),
      end_(end),
      began_(began),
      start_s_(seconds_between(began, started)),
      traffic_(traffic),
      recorder_(recorder),
      group_(group) {
  traffic_->start_s += start_s_;
  recorder_->set_blocks(call_.sequence, false);
  if (end_ == End::kInStart) done(started);
}

std::string Flight::recent_text() const {
  constexpr size_t kMost = 8;
  const std::vector<Record> records = recorder_->recent();
  const auto last = std::span(records).last(std::min(records.size(), kMost));
  std::string text = "The last operations of this rank in that group:\n";
  text += lines_of(last, *group_, "  ");
  text.pop_back();
  return text;
}

void Flight::done(Clock::time_point time) {
  if (done_) return;
  done_ = true;
  traffic_->flight_s += seconds_between(began_, time);
  recorder_->set_done(call_.sequence, time);
}

void Flight::waited(Clock::time_point from, Clock::time_point to) {
  const double waited_s = seconds_between(from, to);
  traffic_->waited_s += waited_s;
  recorder_->set_waited(call_.sequence, waited_s);
  if (end_ != End::kOnDevice) return done(to);
  // The time that the device works beside the host is not seen here.
  traffic_->flight_s += start_s_ + waited_s;
  recorder_->set_done(call_.sequence, to);
}

Work& Work::operator=(Work&& other) noexcept {
  std::swap(pending_, other.pending_);
  return *this;
}

Work::~Work() {
  if (pending_ == nullptr) return;
  // While an exception unwinds, the run ends anyway and the peers may never arrive.
  if (std::uncaught_exceptions() > 0) return;
  const Call& call = pending_->flight.call();
  const std::string_view operation = name_of(call.operation);
  std::fprintf(stderr, "bug in rondo: %.*s #%lld of group %s was started and never waited for\n",
               static_cast<int>(operation.size()), operation.data(),
               static_cast<long long>(call.sequence), pending_->flight.group().c_str());
  std::abort();
}

void Work::wait() {
  RONDO_CHECK(pending_ != nullptr, "a Work is waited for exactly once");
  const auto pending = std::move(pending_);
  const auto start = Clock::now();
  const auto with_recent = [&](const std::exception& error) {
    return fmt::format("{}\n{}", error.what(), pending->flight.recent_text());
  };
  pending->flight.waits();
  try {
    pending->wait();
  } catch (const base::Overdue& error) {
    throw base::Overdue(with_recent(error));
  } catch (const base::SystemError& error) {
    throw base::SystemError(with_recent(error));
  }
  pending->flight.waited(start, Clock::now());
}

namespace {

void check_tensor(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.defined() && tensor.is_contiguous(), "collectives take contiguous tensors");
}

}  // namespace

template <class Start>
Work Group::begin(Operation operation, const at::Tensor& larger, Purpose purpose,
                  const Start& start, int root) {
  const Call call{.sequence = recorder_->next(),
                  .elements = larger.numel(),
                  .root = root,
                  .operation = operation,
                  .type = larger.scalar_type()};
  const int64_t bytes = larger.numel() * larger.element_size();
  const auto began = Clock::now();
  recorder_->add(
      {.call = call, .purpose = purpose, .bytes = bytes, .started = began, .blocks = true});
  Pending pending = start(call);
  Traffic& traffic = traffic_[static_cast<size_t>(purpose)];
  ++traffic.calls;
  traffic.bytes += bytes;
  pending->flight =
      Flight(call, pending->end(), began, Clock::now(), &traffic, recorder_.get(), &name_);
  return Work(std::move(pending));
}

Work Group::all_sum(at::Tensor tensor, Purpose purpose) {
  check_tensor(tensor);
  return begin(Operation::kAllSum, tensor, purpose,
               [&](const Call& call) { return start_all_reduce(call, tensor); });
}

Work Group::all_max(at::Tensor tensor, Purpose purpose) {
  check_tensor(tensor);
  return begin(Operation::kAllMax, tensor, purpose,
               [&](const Call& call) { return start_all_reduce(call, tensor); });
}

Work Group::sum_scatter(at::Tensor out, at::Tensor in, Purpose purpose) {
  check_tensor(out);
  check_tensor(in);
  RONDO_CHECK(in.numel() == out.numel() * size() && in.scalar_type() == out.scalar_type());
  return begin(Operation::kSumScatter, in, purpose,
               [&](const Call& call) { return start_sum_scatter(call, out, in); });
}

Work Group::all_gather(at::Tensor out, at::Tensor in, Purpose purpose) {
  check_tensor(out);
  check_tensor(in);
  RONDO_CHECK(out.numel() == in.numel() * size() && in.scalar_type() == out.scalar_type());
  return begin(Operation::kAllGather, out, purpose,
               [&](const Call& call) { return start_all_gather(call, out, in); });
}

Work Group::broadcast(at::Tensor tensor, int root, Purpose purpose) {
  check_tensor(tensor);
  RONDO_CHECK(root >= 0 && root < size());
  return begin(
      Operation::kBroadcast, tensor, purpose,
      [&](const Call& call) { return start_broadcast(call, tensor); }, root);
}

Work Group::all_to_all(at::Tensor out, at::Tensor in, Purpose purpose) {
  check_tensor(out);
  check_tensor(in);
  RONDO_CHECK(out.numel() == in.numel() && in.numel() % size() == 0 &&
              in.scalar_type() == out.scalar_type());
  return begin(Operation::kAllToAll, in, purpose,
               [&](const Call& call) { return start_all_to_all(call, out, in); });
}

std::unique_ptr<Group> Group::split(std::string name, int color, int key) {
  auto part = start_split({.sequence = recorder_->next(), .operation = Operation::kSplit},
                          std::move(name), color, key);
  part->set_deadline(deadline_s_);
  if (recorders_) part->list_in(recorders_);
  return part;
}

Traffic Group::traffic() const {
  Traffic sum;
  for (const Traffic& part : traffic_) sum += part;
  return sum;
}

std::string Group::recent_text() const { return lines_of(recent(), name_, ""); }

void Group::list_in(std::shared_ptr<FlightRecorders> recorders) {
  recorders_ = std::move(recorders);
  // Alone it waits for nobody.
  if (size() > 1) recorders_->add(name_, world_ranks(), recorder_);
}

void Group::set_deadline(double deadline_s) {
  RONDO_CHECK(deadline_s >= 0, "a deadline of {} s", deadline_s);
  deadline_s_ = deadline_s;
}

void Group::barrier() { all_sum(at::zeros({1}, at::kInt), Purpose::kControl).wait(); }

}  // namespace rondo::comm

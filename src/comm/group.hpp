// Group: ranks that communicate, and the collectives they share.
//
// Every backend (self, local, mpi, nccl) obeys the same contract, so that a group of one runs the
// same lines as a thousand. Tensors are contiguous. A call starts the operation and returns a Work;
// the tensors are kept alive by the Work and must not be touched before wait(). All ranks of a
// group call the same operations in the same order with the same sizes.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/call.hpp"
#include "comm/flight_recorder.hpp"
#include "comm/flight_recorders.hpp"

namespace rondo::comm {

// What the operations of one purpose cost this rank. Times are of the host, in seconds; on CUDA
// devices, where the host does not see an operation's end, flight_s is start_s + waited_s.
struct Traffic {
  int64_t calls = 0;
  int64_t bytes = 0;    // of this rank's larger tensor (input or output) of each call
  double start_s = 0;   // inside the calls that start operations
  double waited_s = 0;  // inside wait(): exposed
  double flight_s = 0;  // from the start to the end, as wait() or poll() saw it

  // In the way of other work of this rank.
  double exposed_s() const { return start_s + waited_s; }
  // Time under way beside other work of this rank.
  double hidden_s() const { return std::max(0.0, flight_s - exposed_s()); }

  Traffic& operator+=(const Traffic& other);
  Traffic operator-(const Traffic& earlier) const;
};

// The account of one operation: brings its times into the Traffic and the flight recorder of its
// group, which must outlive it.
class Flight {
 public:
  // Where the host sees the end of an operation.
  enum class End {
    kInStart,   // it was done when the call that started it returned
    kOnHost,    // in wait() and poll()
    kOnDevice,  // nowhere: wait() orders a stream after it
  };

  Flight() = default;
  // Under way from `began`; the call that started it took until `started`.
  Flight(const Call& call, End end, Clock::time_point began, Clock::time_point started,
         Traffic* traffic, FlightRecorder* recorder, const std::string* group);

  const Call& call() const { return call_; }
  const std::string& group() const { return *group_; }
  void waits() { recorder_->set_blocks(call_.sequence, true); }
  // The first call counts.
  void done(Clock::time_point time);
  void waited(Clock::time_point from, Clock::time_point to);
  // The last operations of this rank in the group, one line each.
  std::string recent_text() const;

 private:
  Call call_;
  End end_ = End::kOnHost;
  bool done_ = false;
  Clock::time_point began_;
  double start_s_ = 0;
  Traffic* traffic_ = nullptr;
  FlightRecorder* recorder_ = nullptr;
  const std::string* group_ = nullptr;
};

// An operation under way. Move-only; must be waited for exactly once: destroying one that was not
// is a Bug (reported on standard error and ended by abort, since destructors cannot throw).
class Work {
 public:
  // Backend part of a Work.
  class Pending {
   public:
    virtual ~Pending() = default;
    virtual void wait() = 0;
    virtual bool test() = 0;
    virtual Flight::End end() const { return Flight::End::kOnHost; }

    Flight flight;  // set by Group as soon as the operation is under way
  };

  Work() = default;
  explicit Work(std::unique_ptr<Pending> pending) : pending_(std::move(pending)) {}
  Work(Work&&) noexcept = default;
  Work& operator=(Work&& other) noexcept;
  ~Work();

  // Returns when the result is there (host backends), or orders the current CUDA stream after it.
  // SystemError when the deadline of the group passes before.
  void wait();
  bool pending() const { return pending_ != nullptr; }

 private:
  std::unique_ptr<Pending> pending_;
};

class Group {
 public:
  virtual ~Group() = default;
  // `name` for messages and reports, such as "world" or "shard".
  explicit Group(std::string name) : name_(std::move(name)) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // "self", "local", "mpi" or "nccl".
  virtual std::string_view backend() const = 0;
  // The ranks of the run that its ranks are; empty where the backend does not know.
  virtual std::vector<int> world_ranks() const { return {}; }
  const std::string& name() const { return name_; }

  // Collective over this group: the ranks that give the same `color` (at least 0) become a group of
  // their own, ranked by `key`, then by their rank here. A group of one is always a `self` group.
  // It has the deadline of this group.
  [[nodiscard]] std::unique_ptr<Group> split(std::string name, int color, int key);

  // Each is collective over this group.
  // In place: every rank ends with the sum (maximum) over ranks. float32, float64, int64, int32.
  [[nodiscard]] Work all_sum(at::Tensor tensor, Purpose purpose);
  [[nodiscard]] Work all_max(at::Tensor tensor, Purpose purpose);
  // out [n] = rank's n-element slice of the sum over ranks of in [size * n]. out may be that slice
  // of `in` itself.
  [[nodiscard]] Work sum_scatter(at::Tensor out, at::Tensor in, Purpose purpose);
  // out [size * n] = the ranks' in [n] end to end. in may be the rank's own slice of `out`.
  [[nodiscard]] Work all_gather(at::Tensor out, at::Tensor in, Purpose purpose);
  // Every rank ends with root's tensor.
  [[nodiscard]] Work broadcast(at::Tensor tensor, int root, Purpose purpose);
  // out [size * n]: slice r = what rank r holds in the slice of this rank in its `in` [size * n].
  // bfloat16, too.
  [[nodiscard]] Work all_to_all(at::Tensor out, at::Tensor in, Purpose purpose);

  // Lets operations under way progress, and notes the end of those that are done. Called at least
  // every few milliseconds of compute.
  virtual void poll() {}
  virtual void barrier();

  const Traffic& traffic(Purpose purpose) const { return traffic_[static_cast<size_t>(purpose)]; }
  // For all purposes.
  Traffic traffic() const;
  // The last operations of this rank in this group, the oldest first; one line each.
  std::vector<Record> recent() const { return recorder_->recent(); }
  std::string recent_text() const;
  // Lists this group, and all that are split off from now on, among `recorders`, for as long as
  // each lives.
  void list_in(std::shared_ptr<FlightRecorders> recorders);

  // How long Work::wait may take, for operations started from now on, before it throws a
  // SystemError that names the ranks which have not come to the operation; 0 (at first): for ever.
  // Kept by the mpi backend; the ranks of a local group are released when one of them ends. The
  // same on all ranks.
  void set_deadline(double deadline_s);
  double deadline_s() const { return deadline_s_; }

 protected:
  using Pending = std::unique_ptr<Work::Pending>;
  // `call` is what this rank asks for; where a backend sees that others ask for something else, it
  // throws a Bug on all ranks (mismatch_text).
  virtual std::unique_ptr<Group> start_split(const Call& call, std::string name, int color,
                                             int key) = 0;
  // The sum, or the maximum where call.operation is all_max.
  virtual Pending start_all_reduce(const Call& call, at::Tensor tensor) = 0;
  virtual Pending start_sum_scatter(const Call& call, at::Tensor out, at::Tensor in) = 0;
  virtual Pending start_all_gather(const Call& call, at::Tensor out, at::Tensor in) = 0;
  virtual Pending start_broadcast(const Call& call, at::Tensor tensor) = 0;
  virtual Pending start_all_to_all(const Call& call, at::Tensor out, at::Tensor in) = 0;

 private:
  // Runs start(call), records and counts.
  template <class Start>
  Work begin(Operation operation, const at::Tensor& larger, Purpose purpose, const Start& start,
             int root = -1);

  std::string name_;
  double deadline_s_ = 0;
  std::array<Traffic, kPurposes> traffic_{};
  std::shared_ptr<FlightRecorder> recorder_ = std::make_shared<FlightRecorder>();
  std::shared_ptr<FlightRecorders> recorders_;
};

// A group of this rank alone.
std::unique_ptr<Group> make_self_group(std::string name = "self");

}  // namespace rondo::comm

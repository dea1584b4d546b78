// Group: ranks that communicate, and the collectives they share.
//
// Every backend (self, local, mpi, nccl) obeys the same contract, so that a group of one runs the
// same lines as a thousand. Tensors are contiguous. A call starts the operation and returns a Work;
// the tensors are kept alive by the Work and must not be touched before wait(). All ranks of a
// group call the same operations in the same order with the same sizes.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace rondo::comm {

// What a collective is for; bytes, calls and waiting are counted per purpose.
enum class Purpose { kControl, kGradients, kWeights, kActivations, kMetrics, kOther };
inline constexpr int kPurposes = 6;
std::string_view name_of(Purpose purpose);

struct Traffic {
  int64_t calls = 0;
  int64_t bytes = 0;  // of this rank's larger tensor (input or output) of each call
  double waited_s = 0;
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
  };

  Work() = default;
  Work(std::unique_ptr<Pending> pending, Traffic* traffic)
      : pending_(std::move(pending)), traffic_(traffic) {}
  Work(Work&&) noexcept = default;
  Work& operator=(Work&& other) noexcept;
  ~Work();

  // Returns when the result is there (host backends), or orders the current CUDA stream after it.
  void wait();
  bool pending() const { return pending_ != nullptr; }

 private:
  std::unique_ptr<Pending> pending_;
  Traffic* traffic_ = nullptr;
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
  const std::string& name() const { return name_; }

  // Collective over this group: the ranks that give the same `color` (at least 0) become a group of
  // their own, ranked by `key`, then by their rank here. A group of one is always a `self` group.
  [[nodiscard]] virtual std::unique_ptr<Group> split(std::string name, int color, int key) = 0;

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
  [[nodiscard]] Work all_to_all(at::Tensor out, at::Tensor in, Purpose purpose);

  // Lets operations under way progress. Called at least every few milliseconds of compute.
  virtual void poll() {}
  virtual void barrier();

  const Traffic& traffic(Purpose purpose) const { return traffic_[static_cast<size_t>(purpose)]; }

 protected:
  using Pending = std::unique_ptr<Work::Pending>;
  virtual Pending start_all_reduce(at::Tensor tensor, bool maximum) = 0;
  virtual Pending start_sum_scatter(at::Tensor out, at::Tensor in) = 0;
  virtual Pending start_all_gather(at::Tensor out, at::Tensor in) = 0;
  virtual Pending start_broadcast(at::Tensor tensor, int root) = 0;
  virtual Pending start_all_to_all(at::Tensor out, at::Tensor in) = 0;

 private:
  std::string name_;
  Work counted(Pending pending, const at::Tensor& larger, Purpose purpose);
  std::array<Traffic, kPurposes> traffic_{};
};

// A group of this rank alone.
std::unique_ptr<Group> make_self_group(std::string name = "self");

}  // namespace rondo::comm

// Threads as ranks. A collective is: publish my call and tensor, meet, read the others', meet
// again. Sums run in rank order, so results are the same on every rank and in every run.
#include "comm/local_world.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "comm/finished.hpp"

namespace rondo::comm {

namespace {

// What the ranks of one group share.
class Meeting {
 public:
  explicit Meeting(int size)
      : calls_(static_cast<size_t>(size)),
        tensors_(static_cast<size_t>(size)),
        offers_(static_cast<size_t>(size)),
        size_(size) {}

  int size() const { return size_; }

  void arrive() {
    std::unique_lock lock(mutex_);
    throw_if_broken();
    const int64_t turn = turn_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++turn_;
      lock.unlock();
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return turn_ != turn || broken_; });
    if (turn_ == turn) throw_if_broken();
  }

  void give_up() {
    const std::scoped_lock lock(mutex_);
    broken_ = true;
    for (const auto& part : parts_) part->give_up();
    changed_.notify_all();
  }

  // A meeting of `size` of these ranks, released with this one.
  std::shared_ptr<Meeting> make_part(int size) {
    auto part = std::make_shared<Meeting>(size);
    const std::scoped_lock lock(mutex_);
    if (broken_) part->give_up();
    parts_.push_back(part);
    return part;
  }

  // Written between meetings by its own rank, read by the others after the next one.
  Call& call_of(int rank) { return calls_[static_cast<size_t>(rank)]; }
  const std::vector<Call>& calls() const { return calls_; }
  at::Tensor& tensor_of(int rank) { return tensors_[static_cast<size_t>(rank)]; }
  std::shared_ptr<Meeting>& offer_of(int rank) { return offers_[static_cast<size_t>(rank)]; }

 private:
  void throw_if_broken() const {
    if (broken_) throw base::SystemError("another rank ended while this one waited for it");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Call> calls_;
  std::vector<at::Tensor> tensors_;
  std::vector<std::shared_ptr<Meeting>> offers_;  // what a rank made for others, while they split
  std::vector<std::shared_ptr<Meeting>> parts_;
  int size_;
  int arrived_ = 0;
  int64_t turn_ = 0;
  bool broken_ = false;
};

class LocalGroup : public Group {
 public:
  // `world_ranks`: the ranks of the world that the ranks of this group have.
  LocalGroup(std::string name, int rank, std::vector<int> world_ranks,
             std::shared_ptr<Meeting> meeting)
      : Group(std::move(name)),
        rank_(rank),
        world_ranks_(std::move(world_ranks)),
        meeting_(std::move(meeting)) {}
  int rank() const override { return rank_; }
  int size() const override { return meeting_->size(); }
  std::string_view backend() const override { return "local"; }
  std::vector<int> world_ranks() const override { return world_ranks_; }

 protected:
  std::unique_ptr<Group> start_split(const Call& call, std::string name, int color,
                                     int key) override {
    publish(call, at::tensor({int64_t{color}, int64_t{key}}));
    std::vector<std::pair<int64_t, int>> members;  // by key, then by rank
    for (int r = 0; r < size(); ++r) {
      const auto* theirs = meeting_->tensor_of(r).const_data_ptr<int64_t>();
      if (theirs[0] == color) members.emplace_back(theirs[1], r);
    }
    std::ranges::sort(members);
    const int first = members.front().second;
    if (first == rank_) {
      meeting_->offer_of(rank_) = meeting_->make_part(static_cast<int>(members.size()));
    }
    meeting_->arrive();
    auto part = meeting_->offer_of(first);
    meeting_->arrive();
    if (members.size() == 1) return make_self_group(std::move(name));
    std::vector<int> world_ranks;
    int mine = 0;
    for (const auto& [order, member] : members) {
      if (member == rank_) mine = static_cast<int>(world_ranks.size());
      world_ranks.push_back(world_ranks_[static_cast<size_t>(member)]);
    }
    return std::make_unique<LocalGroup>(std::move(name), mine, std::move(world_ranks),
                                        std::move(part));
  }

  Pending start_all_reduce(const Call& call, at::Tensor tensor) override {
    publish(call, tensor);
    at::Tensor result = meeting_->tensor_of(0).clone();
    for (int r = 1; r < size(); ++r) {
      const at::Tensor& other = meeting_->tensor_of(r);
      if (call.operation == Operation::kAllMax) {
        at::maximum_out(result, result, other.view_as(result));
      } else {
        result.add_(other.view_as(result));
      }
    }
    meeting_->arrive();
    tensor.copy_(result.view_as(tensor));
    return finished();
  }

  Pending start_sum_scatter(const Call& call, at::Tensor out, at::Tensor in) override {
    publish(call, in);
    const int64_t n = out.numel();
    at::Tensor sum = slice_of(0, rank_, n).clone();
    for (int r = 1; r < size(); ++r) sum.add_(slice_of(r, rank_, n));
    meeting_->arrive();
    out.view({-1}).copy_(sum);
    return finished();
  }

  Pending start_all_gather(const Call& call, at::Tensor out, at::Tensor in) override {
    publish(call, in);
    const int64_t n = in.numel();
    // Copies of all first: `in` may be a slice of `out` on another rank's side as well.
    for (int r = 0; r < size(); ++r) {
      const at::Tensor& other = meeting_->tensor_of(r);
      const at::Tensor target = out.view({-1}).narrow(0, r * n, n);
      if (target.data_ptr() != other.data_ptr()) target.copy_(other.view({-1}));
    }
    meeting_->arrive();
    return finished();
  }

  Pending start_broadcast(const Call& call, at::Tensor tensor) override {
    publish(call, tensor);
    const at::Tensor& source = meeting_->tensor_of(call.root);
    if (rank_ != call.root) tensor.copy_(source.view_as(tensor));
    meeting_->arrive();
    return finished();
  }

  Pending start_all_to_all(const Call& call, at::Tensor out, at::Tensor in) override {
    publish(call, in);
    const int64_t n = in.numel() / size();
    at::Tensor result = at::empty_like(in);
    for (int r = 0; r < size(); ++r) {
      result.view({-1}).narrow(0, r * n, n).copy_(slice_of(r, rank_, n));
    }
    meeting_->arrive();
    out.view({-1}).copy_(result.view({-1}));
    return finished();
  }

 private:
  // Bug on all ranks when they did not make the same call.
  void publish(const Call& call, const at::Tensor& tensor) {
    meeting_->call_of(rank_) = call;
    meeting_->tensor_of(rank_) = tensor;
    meeting_->arrive();
    const auto& calls = meeting_->calls();
    if (std::ranges::all_of(calls, [&](const Call& other) { return other == call; })) return;
    const std::string text = mismatch_text(name(), calls, world_ranks_);
    meeting_->arrive();  // all have read
    throw base::Bug(text);
  }
  at::Tensor slice_of(int rank, int part, int64_t n) {
    return meeting_->tensor_of(rank).view({-1}).narrow(0, part * n, n);
  }
  int rank_;
  std::vector<int> world_ranks_;
  std::shared_ptr<Meeting> meeting_;
};

std::unique_ptr<LocalGroup> world_group(std::string name, int rank,
                                        std::shared_ptr<Meeting> meeting) {
  std::vector<int> ranks(static_cast<size_t>(meeting->size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return std::make_unique<LocalGroup>(std::move(name), rank, std::move(ranks), std::move(meeting));
}

void run_threads(int size, const std::vector<Meeting*>& meetings,
                 const std::function<void(int)>& body) {
  RONDO_CHECK(size >= 1);
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      const c10::InferenceMode inference;
      try {
        body(rank);
      } catch (...) {
        {
          const std::scoped_lock lock(mutex);
          if (!first) first = std::current_exception();
        }
        for (Meeting* meeting : meetings) meeting->give_up();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace

void LocalWorld::run(int size, const std::function<void(Group&)>& body) {
  const auto meeting = std::make_shared<Meeting>(size);
  run_threads(size, {meeting.get()}, [&](int rank) { body(*world_group("world", rank, meeting)); });
}

void LocalWorld::run(int size, const std::function<void(Group&, Control&)>& body) {
  const auto tensors = std::make_shared<Meeting>(size);
  const auto words = std::make_shared<Meeting>(size);
  run_threads(size, {tensors.get(), words.get()}, [&](int rank) {
    Control control(world_group("control", rank, words));
    body(*world_group("world", rank, tensors), control);
  });
}

}  // namespace rondo::comm

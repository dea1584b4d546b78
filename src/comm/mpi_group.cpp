#include "comm/mpi_group.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <vector>

#include "base/slice.hpp"
#include "comm/mpi_communicator.hpp"
#include "comm/mpi_wait.hpp"
#include "comm/try_mpi.hpp"

namespace rondo::comm {

void fail_mpi(const char* call, int code) {
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw base::SystemError(call, code, text);
}

namespace {

MPI_Datatype type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kInt:
      return MPI_INT32_T;
    case at::kLong:
      return MPI_INT64_T;
    case at::kByte:
      return MPI_UINT8_T;
    case at::kBFloat16:
      return MPI_UINT16_T;  // moved, never added (check_sum)
    default:
      throw base::Bug(fmt::format("no MPI type for {}", at::toString(tensor.scalar_type())));
  }
}

// MPI adds no bfloat16.
void check_sum(const at::Tensor& tensor) {
  RONDO_CHECK(tensor.scalar_type() != at::kBFloat16, "a sum of bfloat16 over MPI ranks");
}

// MPI-3 counts are int.
int count_of(int64_t elements) { return base::narrow<int>(elements); }

// What MPI reads and writes until the request is complete.
struct Transfer {
  MPI_Request request = MPI_REQUEST_NULL;
  std::vector<at::Tensor> alive;
  std::vector<int> counts;
};

// What MPI works on for one group.
struct UnderWay {
  // Not seen complete yet, so that poll() can drive them.
  std::vector<class MpiPending*> pending;
  // Their waiting ended with an exception.
  std::unique_ptr<std::vector<Transfer>> given_up = std::make_unique<std::vector<Transfer>>();
};

class MpiPending : public Work::Pending {
 public:
  MpiPending(const Call& call, double deadline_s, MpiWait& waiting, UnderWay& under_way)
      : call_(call), deadline_s_(deadline_s), waiting_(waiting), under_way_(under_way) {
    under_way_.pending.push_back(this);
  }
  ~MpiPending() override {
    std::erase(under_way_.pending, this);
    // MPI may still write to the tensors.
    if (transfer.request != MPI_REQUEST_NULL) under_way_.given_up->push_back(std::move(transfer));
  }

  void wait() override {
    if (transfer.request != MPI_REQUEST_NULL) {
      waiting_.complete(transfer.request, call_, deadline_s_);
    }
    if (copy_to.defined()) copy_to.view({-1}).copy_(copy_from.view({-1}));
  }
  bool test() override {
    int done = 0;
    TRY_MPI(MPI_Test(&transfer.request, &done, MPI_STATUS_IGNORE));
    return done != 0;
  }

  Transfer transfer;
  at::Tensor copy_to, copy_from;

 private:
  Call call_;
  double deadline_s_;
  MpiWait& waiting_;
  UnderWay& under_way_;
};

class MpiGroup : public Group {
 public:
  MpiGroup(std::string group_name, MpiCommunicator communicator, MpiSettings settings)
      : Group(std::move(group_name)),
        communicator_(std::move(communicator)),
        settings_(std::move(settings)),
        rank_(communicator_.rank()),
        size_(communicator_.size()),
        waiting_(name(), settings_.watch->world_ranks_of(communicator_.get()), settings_.watch) {
    if (settings_.checked) check_.emplace(MpiCommunicator::copy_of(communicator_.get()));
  }
  ~MpiGroup() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    const bool in_order = finalized == 0 && std::uncaught_exceptions() == 0;
    // Questions that this rank came too late for.
    if (in_order && deadline_s() > 0) settings_.watch->discard();
    if (under_way_.given_up->empty() || (in_order && settle())) return;
    // MPI may use them until the process ends.
    static_cast<void>(under_way_.given_up.release());
    communicator_.leave();
    if (check_) check_->leave();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "mpi"; }
  std::vector<int> world_ranks() const override { return waiting_.world_ranks(); }

  void poll() override {
    std::erase_if(under_way_.pending, [](MpiPending* pending) {
      const bool done = pending->test();
      if (done) pending->flight.done(Clock::now());
      return done;
    });
  }

 protected:
  std::unique_ptr<Group> start_split(const Call& call, std::string name, int color,
                                     int key) override {
    check(call);
    MPI_Comm part = MPI_COMM_NULL;
    TRY_MPI(MPI_Comm_split(communicator_.get(), color, key, &part));
    auto group = std::make_unique<MpiGroup>(std::move(name), MpiCommunicator(part), settings_);
    if (group->size() == 1) return make_self_group(group->name());
    return group;
  }

  Pending start_all_reduce(const Call& call, at::Tensor tensor) override {
    check_sum(tensor);
    auto pending = prepare(call, {tensor});
    TRY_MPI(MPI_Iallreduce(MPI_IN_PLACE, tensor.data_ptr(), count_of(tensor.numel()),
                           type_of(tensor),
                           call.operation == Operation::kAllMax ? MPI_MAX : MPI_SUM,
                           communicator_.get(), &pending->transfer.request));
    return pending;
  }

  // Reduce_scatter and not Reduce_scatter_block: in Open MPI 4 the latter falls to a basic linear
  // algorithm and is 3-5 times slower at 1-16 MiB.
  Pending start_sum_scatter(const Call& call, at::Tensor out, at::Tensor in) override {
    check_sum(in);
    auto pending = prepare(call, {in, out});
    // MPI's in-place form leaves the result at the start of the buffer, not in this rank's slice.
    if (shares_memory(out, in)) {
      pending->copy_to = out;
      out = pending->copy_from = at::empty_like(out);
      pending->transfer.alive.push_back(out);
    }
    pending->transfer.counts.assign(static_cast<size_t>(size_), count_of(out.numel()));
    TRY_MPI(MPI_Ireduce_scatter(in.data_ptr(), out.data_ptr(), pending->transfer.counts.data(),
                                type_of(in), MPI_SUM, communicator_.get(),
                                &pending->transfer.request));
    return pending;
  }

  Pending start_all_gather(const Call& call, at::Tensor out, at::Tensor in) override {
    auto pending = prepare(call, {in, out});
    const void* source = in.data_ptr();
    if (shares_memory(in, out)) {
      RONDO_CHECK(in.data_ptr() ==
                      static_cast<char*>(out.data_ptr()) + rank_ * in.numel() * in.element_size(),
                  "all_gather in place takes the rank's own slice");
      source = MPI_IN_PLACE;
    }
    const int n = count_of(in.numel());
    TRY_MPI(MPI_Iallgather(source, n, type_of(in), out.data_ptr(), n, type_of(out),
                           communicator_.get(), &pending->transfer.request));
    return pending;
  }

  Pending start_broadcast(const Call& call, at::Tensor tensor) override {
    auto pending = prepare(call, {tensor});
    TRY_MPI(MPI_Ibcast(tensor.data_ptr(), count_of(tensor.numel()), type_of(tensor), call.root,
                       communicator_.get(), &pending->transfer.request));
    return pending;
  }

  Pending start_all_to_all(const Call& call, at::Tensor out, at::Tensor in) override {
    RONDO_CHECK(!shares_memory(out, in), "all_to_all needs two tensors");
    auto pending = prepare(call, {in, out});
    const int n = count_of(in.numel() / size_);
    TRY_MPI(MPI_Ialltoall(in.data_ptr(), n, type_of(in), out.data_ptr(), n, type_of(out),
                          communicator_.get(), &pending->transfer.request));
    return pending;
  }

 private:
  std::unique_ptr<MpiPending> prepare(const Call& call, std::vector<at::Tensor> alive) {
    check(call);
    return pending_of(call, std::move(alive));
  }
  std::unique_ptr<MpiPending> pending_of(const Call& call, std::vector<at::Tensor> alive) {
    auto pending = std::make_unique<MpiPending>(call, deadline_s(), waiting_, under_way_);
    pending->transfer.alive = std::move(alive);
    return pending;
  }

  // In checked mode: Bug on all ranks when they do not all come with the same call.
  void check(const Call& call) {
    if (!check_) return;
    constexpr int kBytes = sizeof(Call);
    at::Tensor own = at::empty({kBytes}, at::kByte);
    at::Tensor all = at::empty({size_ * int64_t{kBytes}}, at::kByte);
    std::memcpy(own.data_ptr(), &call, sizeof(Call));
    const auto exchange = pending_of(call, {own, all});
    TRY_MPI(MPI_Iallgather(own.data_ptr(), kBytes, MPI_BYTE, all.data_ptr(), kBytes, MPI_BYTE,
                           check_->get(), &exchange->transfer.request));
    exchange->wait();
    std::vector<Call> calls(static_cast<size_t>(size_));
    std::memcpy(calls.data(), all.const_data_ptr(), calls.size() * sizeof(Call));
    if (std::ranges::all_of(calls, [&](const Call& other) { return other == call; })) return;
    throw base::Bug(mismatch_text(name(), calls, waiting_.world_ranks()));
  }

  // False when what was given up does not complete within the deadline.
  bool settle() {
    std::vector<Transfer>& given_up = *under_way_.given_up;
    const auto start = Clock::now();
    do {
      std::erase_if(given_up, [](Transfer& transfer) {
        int done = 0;
        return MPI_Test(&transfer.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0;
      });
    } while (!given_up.empty() && seconds_between(start, Clock::now()) < deadline_s());
    return given_up.empty();
  }

  static bool shares_memory(const at::Tensor& small, const at::Tensor& large) {
    const auto* begin = static_cast<const char*>(large.const_data_ptr());
    const auto* at = static_cast<const char*>(small.const_data_ptr());
    return at >= begin && at < begin + large.numel() * large.element_size();
  }

  MpiCommunicator communicator_;
  std::optional<MpiCommunicator> check_;
  MpiSettings settings_;
  int rank_;
  int size_;
  MpiWait waiting_;
  UnderWay under_way_;
};

}  // namespace

std::unique_ptr<Group> make_mpi_group(std::string name, MPI_Comm parent, MpiSettings settings) {
  return std::make_unique<MpiGroup>(std::move(name), MpiCommunicator::copy_of(parent),
                                    std::move(settings));
}

}  // namespace rondo::comm

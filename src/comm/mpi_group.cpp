#include "comm/mpi_group.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "base/slice.hpp"
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
    default:
      throw base::Bug(fmt::format("no MPI type for {}", at::toString(tensor.scalar_type())));
  }
}

// MPI-3 counts are int.
int count_of(int64_t elements) { return base::narrow<int>(elements); }

// The requests of one group that MPI still works on, so that poll() can drive them.
using UnderWay = std::vector<class MpiPending*>;

class MpiPending : public Work::Pending {
 public:
  explicit MpiPending(UnderWay& under_way) : under_way_(under_way) { under_way_.push_back(this); }
  ~MpiPending() override { std::erase(under_way_, this); }

  void wait() override {
    if (request != MPI_REQUEST_NULL) TRY_MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
    if (copy_to.defined()) copy_to.view({-1}).copy_(copy_from.view({-1}));
  }
  bool test() override {
    int done = 0;
    TRY_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    return done != 0;
  }

  MPI_Request request = MPI_REQUEST_NULL;
  std::vector<at::Tensor> alive;
  std::vector<int> counts;  // must live as long as the operation
  at::Tensor copy_to, copy_from;

 private:
  UnderWay& under_way_;
};

class MpiGroup : public Group {
 public:
  // Owns the communicator.
  MpiGroup(std::string name, MPI_Comm communicator)
      : Group(std::move(name)), communicator_(communicator) {
    TRY_MPI(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
    TRY_MPI(MPI_Comm_rank(communicator_, &rank_));
    TRY_MPI(MPI_Comm_size(communicator_, &size_));
  }
  ~MpiGroup() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    // Freeing is collective: while an exception unwinds, the other ranks may not follow.
    if (finalized != 0 || std::uncaught_exceptions() > 0) return;
    if (MPI_Comm_free(&communicator_) != MPI_SUCCESS) {
      std::fputs("warning: MPI_Comm_free failed\n", stderr);
    }
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "mpi"; }

  void poll() override {
    std::erase_if(under_way_, [](MpiPending* pending) {
      const bool done = pending->test();
      if (done) pending->flight.done(Clock::now());
      return done;
    });
  }

 protected:
  std::unique_ptr<Group> start_split(const Call& /*call*/, std::string name, int color,
                                     int key) override {
    MPI_Comm part = MPI_COMM_NULL;
    TRY_MPI(MPI_Comm_split(communicator_, color, key, &part));
    auto group = std::make_unique<MpiGroup>(std::move(name), part);
    if (group->size() == 1) return make_self_group(group->name());
    return group;
  }

  Pending start_all_reduce(const Call& call, at::Tensor tensor) override {
    auto pending = prepare({tensor});
    TRY_MPI(MPI_Iallreduce(MPI_IN_PLACE, tensor.data_ptr(), count_of(tensor.numel()),
                           type_of(tensor),
                           call.operation == Operation::kAllMax ? MPI_MAX : MPI_SUM, communicator_,
                           &pending->request));
    return pending;
  }

  // Reduce_scatter and not Reduce_scatter_block: in Open MPI 4 the latter falls to a basic linear
  // algorithm and is 3-5 times slower at 1-16 MiB.
  Pending start_sum_scatter(const Call& /*call*/, at::Tensor out, at::Tensor in) override {
    auto pending = prepare({in, out});
    // MPI's in-place form leaves the result at the start of the buffer, not in this rank's slice.
    if (shares_memory(out, in)) {
      pending->copy_to = out;
      out = pending->copy_from = at::empty_like(out);
    }
    pending->counts.assign(static_cast<size_t>(size_), count_of(out.numel()));
    TRY_MPI(MPI_Ireduce_scatter(in.data_ptr(), out.data_ptr(), pending->counts.data(), type_of(in),
                                MPI_SUM, communicator_, &pending->request));
    return pending;
  }

  Pending start_all_gather(const Call& /*call*/, at::Tensor out, at::Tensor in) override {
    auto pending = prepare({in, out});
    const void* source = in.data_ptr();
    if (shares_memory(in, out)) {
      RONDO_CHECK(in.data_ptr() ==
                      static_cast<char*>(out.data_ptr()) + rank_ * in.numel() * in.element_size(),
                  "all_gather in place takes the rank's own slice");
      source = MPI_IN_PLACE;
    }
    const int n = count_of(in.numel());
    TRY_MPI(MPI_Iallgather(source, n, type_of(in), out.data_ptr(), n, type_of(out), communicator_,
                           &pending->request));
    return pending;
  }

  Pending start_broadcast(const Call& call, at::Tensor tensor) override {
    auto pending = prepare({tensor});
    TRY_MPI(MPI_Ibcast(tensor.data_ptr(), count_of(tensor.numel()), type_of(tensor), call.root,
                       communicator_, &pending->request));
    return pending;
  }

  Pending start_all_to_all(const Call& /*call*/, at::Tensor out, at::Tensor in) override {
    RONDO_CHECK(!shares_memory(out, in), "all_to_all needs two tensors");
    auto pending = prepare({in, out});
    const int n = count_of(in.numel() / size_);
    TRY_MPI(MPI_Ialltoall(in.data_ptr(), n, type_of(in), out.data_ptr(), n, type_of(out),
                          communicator_, &pending->request));
    return pending;
  }

 private:
  std::unique_ptr<MpiPending> prepare(std::vector<at::Tensor> alive) {
    auto pending = std::make_unique<MpiPending>(under_way_);
    pending->alive = std::move(alive);
    return pending;
  }
  static bool shares_memory(const at::Tensor& small, const at::Tensor& large) {
    const auto* begin = static_cast<const char*>(large.const_data_ptr());
    const auto* at = static_cast<const char*>(small.const_data_ptr());
    return at >= begin && at < begin + large.numel() * large.element_size();
  }

  MPI_Comm communicator_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  UnderWay under_way_;
};

}  // namespace

std::unique_ptr<Group> make_mpi_group(std::string name, MPI_Comm parent) {
  MPI_Comm copy = MPI_COMM_NULL;
  TRY_MPI(MPI_Comm_dup(parent, &copy));
  return std::make_unique<MpiGroup>(std::move(name), copy);
}

}  // namespace rondo::comm

// Owner of an MPI communicator.
#pragma once

#include <mpi.h>

#include <cstdio>
#include <exception>
#include <utility>

#include "comm/try_mpi.hpp"

namespace rondo::comm {

class MpiCommunicator {
 public:
  // Takes over `handle`; its errors are returned, so that TRY_MPI sees them.
  explicit MpiCommunicator(MPI_Comm handle) : handle_(handle) {
    TRY_MPI(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN));
  }
  // Collective over `parent`.
  static MpiCommunicator copy_of(MPI_Comm parent) {
    MPI_Comm copy = MPI_COMM_NULL;
    TRY_MPI(MPI_Comm_dup(parent, &copy));
    return MpiCommunicator(copy);
  }
  MpiCommunicator(MpiCommunicator&& other) noexcept
      : handle_(std::exchange(other.handle_, MPI_COMM_NULL)) {}
  MpiCommunicator& operator=(MpiCommunicator&&) = delete;
  ~MpiCommunicator() {
    int finalized = 0;
    MPI_Finalized(&finalized);
    // Freeing is collective: while an exception unwinds, the other ranks may not follow.
    if (handle_ == MPI_COMM_NULL || finalized != 0 || std::uncaught_exceptions() > 0) return;
    if (MPI_Comm_free(&handle_) != MPI_SUCCESS) {
      std::fputs("warning: MPI_Comm_free failed\n", stderr);
    }
  }

  MPI_Comm get() const { return handle_; }
  int rank() const {
    int rank = 0;
    TRY_MPI(MPI_Comm_rank(handle_, &rank));
    return rank;
  }
  int size() const {
    int size = 0;
    TRY_MPI(MPI_Comm_size(handle_, &size));
    return size;
  }
  // It is never freed.
  void leave() { handle_ = MPI_COMM_NULL; }

 private:
  MPI_Comm handle_;
};

}  // namespace rondo::comm

// TRY_MPI: every MPI call goes through it.
#pragma once

#include <mpi.h>

#include "base/error.hpp"

namespace rondo::comm {

[[noreturn]] void fail_mpi(const char* call, int code);

}  // namespace rondo::comm

#define TRY_MPI(call)                               \
  do {                                              \
    const int try_mpi_code = (call);                \
    if (try_mpi_code != MPI_SUCCESS) {              \
      ::rondo::comm::fail_mpi(#call, try_mpi_code); \
    }                                               \
  } while (false)

// The groups that an mpirun test uses; made by tests/support/main/mpi_main.cpp.
#pragma once

#include "comm/runtime.hpp"

namespace rondo::test {

// The runtime of the test program. Tests make their own groups from it, on all ranks alike.
comm::Runtime& runtime();
void set_runtime(comm::Runtime* runtime);

}  // namespace rondo::test

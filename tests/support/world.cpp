#include "support/world.hpp"

#include "base/error.hpp"

namespace rondo::test {

namespace {
comm::Runtime* g_runtime = nullptr;
}

comm::Runtime& runtime() {
  RONDO_CHECK(g_runtime != nullptr, "only programs with mpi_main.cpp have a runtime");
  return *g_runtime;
}

void set_runtime(comm::Runtime* runtime) { g_runtime = runtime; }

}  // namespace rondo::test

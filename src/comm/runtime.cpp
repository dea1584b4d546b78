#include "comm/runtime.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "comm/mpi_group.hpp"
#include "comm/try_mpi.hpp"

namespace rondo::comm {

Runtime::Runtime(int* argc, char*** argv) {
  int provided = 0;
  TRY_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  TRY_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  if (provided < MPI_THREAD_FUNNELED) {
    throw base::SystemError(
        "this MPI does not offer MPI_THREAD_FUNNELED; use an MPI built with thread support");
  }
  TRY_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  TRY_MPI(MPI_Comm_size(MPI_COMM_WORLD, &size_));
}

Runtime::~Runtime() {
  // While an exception unwinds, the other ranks may not come to MPI_Finalize.
  if (std::uncaught_exceptions() == 0) MPI_Finalize();
}

std::string Runtime::host() const {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

std::unique_ptr<Group> Runtime::make_group() { return make_mpi_group(MPI_COMM_WORLD); }

void Runtime::abort_all(int code) {
  // MPI_Abort itself can hang on a broken network: an alarm ends this process then.
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(10);
  std::fflush(nullptr);
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, code);
  ::_exit(code);
}

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string all(text.data(), static_cast<size_t>(length));
  return all.substr(0, all.find(','));
}

}  // namespace rondo::comm

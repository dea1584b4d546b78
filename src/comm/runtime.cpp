#include "comm/runtime.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

#include "comm/mpi_group.hpp"
#include "comm/try_mpi.hpp"
#include "comm/watch.hpp"

namespace rondo::comm {

struct Runtime::Meeting {
  MPI_Comm communicator = MPI_COMM_NULL;
};

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
  meeting_ = std::make_unique<Meeting>();
  TRY_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &meeting_->communicator));
  watch_ = std::make_shared<Watch>(MPI_COMM_WORLD);
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

bool Runtime::all_arrive(double timeout_s) {
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Ibarrier(meeting_->communicator, &request) != MPI_SUCCESS) return false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  int done = 0;
  while (done == 0 && std::chrono::steady_clock::now() < deadline) {
    if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    std::this_thread::yield();
  }
  return done != 0;
}

std::unique_ptr<Group> Runtime::make_group(std::string name) {
  auto group = make_mpi_group(std::move(name), MPI_COMM_WORLD,
                              {.checked = check_collectives_, .watch = watch_});
  group->list_in(recorders_);
  return group;
}

void Runtime::leave(int code, bool in_order) {
  std::fflush(nullptr);
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(10);
  if (in_order) MPI_Finalize();
  ::_exit(code);
}

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

#include "comm/mpi_wait.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "comm/flight_recorder.hpp"
#include "comm/try_mpi.hpp"

namespace rondo::comm {

namespace {

// Tests between two looks at the clock: as fast to notice the end as MPI_Wait, which spins as well.
constexpr int kTests = 16;
// How often a waiting rank looks for questions, and for how long one that asks waits for answers.
constexpr double kListenSeconds = 0.01;
constexpr double kAnswerSeconds = 1;

bool test(MPI_Request& request) {
  int done = 0;
  TRY_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
  return done != 0;
}

}  // namespace

MpiWait::MpiWait(std::string group, std::vector<int> world_ranks, std::shared_ptr<Watch> watch)
    : group_(std::move(group)), world_ranks_(std::move(world_ranks)), watch_(std::move(watch)) {}

void MpiWait::complete(MPI_Request& request, const Call& call, double deadline_s) {
  if (deadline_s <= 0) {
    TRY_MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
    return;
  }
  for (int i = 0; i < kTests; ++i) {
    if (test(request)) return;
  }
  const Watch::Place own = {.group = group_.substr(0, Watch::kNameBytes), .call = call};
  watch_->forget();
  const auto start = Clock::now();
  double waited_s = 0;
  double listened_s = 0;
  while (waited_s < deadline_s) {
    for (int i = 0; i < kTests; ++i) {
      if (test(request)) return;
    }
    waited_s = seconds_between(start, Clock::now());
    if (waited_s - listened_s < kListenSeconds) continue;
    watch_->listen(own);
    listened_s = waited_s;
  }

  watch_->ask(own, world_ranks_);
  const auto asked = Clock::now();
  const auto has_spoken = [&](int rank) {
    return rank == watch_->rank() || watch_->heard().contains(rank);
  };
  while (!std::ranges::all_of(world_ranks_, has_spoken) &&
         seconds_between(asked, Clock::now()) < kAnswerSeconds) {
    if (test(request)) return;
    watch_->listen(own);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw base::Overdue(overdue_text(own, deadline_s, watch_->rank(), world_ranks_, watch_->heard()));
}

}  // namespace rondo::comm

// A run: the rounds of a configuration, one after another, in one run folder, from wherever the
// newest checkpoint left it.
//
//   round:  weights from init -> steps -> checkpoint -> held-out losses -> gate -> Hugging Face
//           folder -> ledger line
//
// Everything that must survive a kill is either in a checkpoint or follows from one: after a
// restart the same numbers come out, to the last bit on the same ranks.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/console.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/watchdog.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "train/config.hpp"

namespace rondo::train {

struct RunHooks {
  // Whether this rank was asked to stop; looked at after every step, on any rank.
  std::function<bool()> stop_requested = [] { return false; };
  // Ends this process at once in so many seconds, unless it has ended before.
  std::function<void(double seconds)> end_in = [](double) {};
  std::string host;        // of this rank
  std::string gpu;         // of this rank, as CUDA names it; "": it computes on the host
  int64_t gpu_memory = 0;  // free bytes of it
  std::string version;     // of the program, for the ledger
  std::string job_end;     // of the batch system's job, seconds since 1970; "": not known
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  base::Faults& faults;
  base::Watchdog& watchdog;
};

// Collective over all ranks. kDone when every round is done, a gate ended the run, or run.max_steps
// is reached; kRequeue when asked to stop (a checkpoint was saved).
base::Exit run(const Config& config, comm::Control& control, comm::Group& group,
               base::Console& console, const RunHooks& hooks);

}  // namespace rondo::train

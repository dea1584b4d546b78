// Ends the processes of a run that makes no progress, wherever they are stuck.
//
// The thread of the watchdog reports, tells on one rank what is known, and ends the process with
// exit code 3: no destructor runs, and neither MPI nor NCCL is called. A signal ends it where the
// file system does not answer either.
#pragma once

#include <memory>
#include <string>

#include "app/command.hpp"
#include "base/watchdog.hpp"
#include "comm/flight_recorders.hpp"
#include "train/config.hpp"
#include "train/hang_reports.hpp"

namespace rondo::app {

class HangWatch {
 public:
  // Collective over all ranks. Watches from now on.
  HangWatch(const train::Config& config, Context& context);

  base::Watchdog& watchdog() { return watchdog_; }

 private:
  [[noreturn]] void end(const base::Phases::State& state) const;

  const int rank_;
  const std::shared_ptr<const comm::FlightRecorders> recorders_;
  const train::HangReports reports_;
  base::Watchdog watchdog_;  // its thread uses the others
};

}  // namespace rondo::app

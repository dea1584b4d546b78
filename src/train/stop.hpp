// Whether a run should stop: a signal, a file STOP in its folder, or the end of its time.
//
// Asked on every rank at the boundaries of steps; what one rank wants all ranks do, by agreement of
// the caller. Only rank 0 looks at the file and the clock.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "train/config.hpp"

namespace rondo::train {

// Seconds from now until the run must have ended: run.max_minutes after `started`, and the end of
// the Slurm job (SLURM_JOB_END_TIME, seconds since 1970) where `job_end` names one; nothing where
// neither does. UserError when `job_end` is not a number.
std::optional<double> seconds_left(const Config& config,
                                   std::chrono::steady_clock::time_point started,
                                   const std::string& job_end);

class StopRequests {
 public:
  using Clock = std::chrono::steady_clock;

  struct Settings {
    std::function<bool()> signalled;       // whether this process was asked by a signal
    std::string file;                      // STOP; "": this rank looks at neither file nor clock
    std::optional<Clock::time_point> end;  // of the run's time
    double total_s = 0;                    // that the run had for it
  };
  explicit StopRequests(Settings settings) : settings_(std::move(settings)) {}

  // Why this rank wants to stop; empty: it does not. Looks at the file at most once a second.
  std::string reason();
  // What a step and a save take, for the time that must be left for the last of them.
  void step_took(double seconds) { step_s_ = std::max(seconds, 0.9 * step_s_); }
  void save_took(double seconds) { save_s_ = std::max(seconds, 0.9 * save_s_); }
  // Seconds before the end at which the run stops: two steps, two saves, and a twentieth of its
  // time or half a minute, what is less.
  double lead_s() const;
  // The request was met: removes the file, so that a later start goes on.
  void met() const;

 private:
  Settings settings_;
  double step_s_ = 0;
  double save_s_ = 0;
  std::optional<Clock::time_point> looked_;
  bool file_there_ = false;
};

}  // namespace rondo::train

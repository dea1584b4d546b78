// Watchdog: notices, on a thread of its own, that this process makes no progress.
//
// The main thread says which phase of its work it enters; each phase has a budget of time, which
// may be learned from how long it took before. When one passes, a handler is called on the thread
// of the watchdog: the main thread may be stuck anywhere. Knows nothing of what the phases are.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace rondo::base {

struct WatchdogSettings {
  double factor = 10;  // 0: nothing is watched
  double least_s = 300;
  double first_s = 1800;
  double tick_s = 1;  // between two looks of the thread
};

enum class Budget {
  kLearned,  // the first of a name: first_s; then factor times the longest so far, at least least_s
  kFixed,    // the same, but always at least first_s: one says little of the next
  kNone,     // any time: it cannot be foreseen
};

// The phases of one process; the caller gives the time, in seconds of a steady clock. Gaps of more
// than two ticks between two calls do not count: this process did not run then, as in a job that is
// suspended.
class Phases {
 public:
  struct State {
    std::string phase;
    int64_t step = 0;
    double seconds = 0;   // counted, in this phase
    double budget_s = 0;  // infinite: none
    double passed_s = 0;  // on the clock, in this phase

    bool expired() const { return seconds > budget_s; }
  };

  explicit Phases(const WatchdogSettings& settings) : settings_(settings) {}
  // In `phase` from now on; the same name again is another one.
  void enter(std::string_view phase, int64_t step, Budget budget, double now_s);
  // Called at every tick.
  void tick(double now_s);
  // The next one of each name is a first one again.
  void forget();
  // As of the last call.
  State state() const;

 private:
  const WatchdogSettings settings_;
  std::map<std::string, double, std::less<>> longest_s_;
  std::string phase_;
  int64_t step_ = 0;
  Budget budget_ = Budget::kNone;
  double last_s_ = 0;
  double counted_s_ = 0;
  double entered_s_ = 0;
};

class Watchdog {
 public:
  struct Handlers {
    // Called at most once, on the thread of the watchdog: the phase has expired, or others_stuck
    // was true. Need not return.
    std::function<void(const Phases::State&)> stuck;
    // Whether other processes have found themselves stuck; asked on the same thread, at every tick
    // once half of least_s has passed in a phase.
    std::function<bool()> others_stuck = [] { return false; };
  };

  // Watches from now on, in the phase "start" (Budget::kFixed).
  Watchdog(const WatchdogSettings& settings, Handlers handlers);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Begins `phase`, of `step` where there is one.
  void enter(std::string_view phase, int64_t step = 0, Budget budget = Budget::kLearned);
  void forget();

 private:
  void watch();

  const WatchdogSettings settings_;
  const Handlers handlers_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  Phases phases_;
  std::thread thread_;
};

}  // namespace rondo::base

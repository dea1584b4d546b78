#include "base/watchdog.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace rondo::base {

namespace {

double now_s() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace

void Phases::tick(double now_s) {
  counted_s_ += std::min(now_s - last_s_, 2 * settings_.tick_s);
  last_s_ = now_s;
}

void Phases::enter(std::string_view phase, int64_t step, Budget budget, double now_s) {
  if (!phase_.empty()) {
    tick(now_s);
    double& longest_s = longest_s_[phase_];
    longest_s = std::max(longest_s, counted_s_);
  }
  phase_ = phase;
  step_ = step;
  budget_ = budget;
  last_s_ = entered_s_ = now_s;
  counted_s_ = 0;
}

void Phases::forget() { longest_s_.clear(); }

Phases::State Phases::state() const {
  const auto known = longest_s_.find(phase_);
  const bool first = known == longest_s_.end() || budget_ == Budget::kFixed;
  double budget_s = first ? std::max(settings_.first_s, settings_.least_s) : settings_.least_s;
  if (known != longest_s_.end()) budget_s = std::max(budget_s, settings_.factor * known->second);
  if (budget_ == Budget::kNone) budget_s = std::numeric_limits<double>::infinity();
  return {.phase = phase_,
          .step = step_,
          .seconds = counted_s_,
          .budget_s = budget_s,
          .passed_s = last_s_ - entered_s_};
}

Watchdog::Watchdog(const WatchdogSettings& settings, Handlers handlers)
    : settings_(settings), handlers_(std::move(handlers)), phases_(settings) {
  enter("start", 0, Budget::kFixed);
  if (settings_.factor > 0) thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock hold(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::enter(std::string_view phase, int64_t step, Budget budget) {
  const std::scoped_lock hold(mutex_);
  phases_.enter(phase, step, budget, now_s());
}

void Watchdog::forget() {
  const std::scoped_lock hold(mutex_);
  phases_.forget();
}

void Watchdog::watch() {
  const std::chrono::duration<double> tick(settings_.tick_s);
  std::unique_lock hold(mutex_);
  while (!ended_.wait_for(hold, tick, [this] { return end_; })) {
    phases_.tick(now_s());
    const Phases::State state = phases_.state();
    // The handlers do not keep the main thread from going on.
    hold.unlock();
    if (state.expired() || (state.passed_s > settings_.least_s / 2 && handlers_.others_stuck())) {
      handlers_.stuck(state);
      return;
    }
    hold.lock();
  }
}

}  // namespace rondo::base

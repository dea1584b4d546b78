#include "app/stop_signal.hpp"

#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string_view>

#include "base/error.hpp"

namespace rondo::app {

namespace {
// A signal handler can reach nothing but what is static.
std::atomic<bool> g_requested = false;
std::atomic<int> g_interrupts = 0;
std::atomic<int64_t> g_terminated_at = 0;  // milliseconds; 0: not yet
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);

// Two SIGTERM closer together are one request: launchers and batch systems send them to several.
constexpr int64_t kOneRequestMs = 2000;

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void on_signal(int number) {
  g_requested = true;
  // launch/run sends SIGUSR1 again and again, so that only the others can be impatient.
  if (number == SIGINT && g_interrupts.fetch_add(1) > 0) ::_exit(128 + SIGINT);
  if (number == SIGTERM) {
    int64_t first = 0;
    if (!g_terminated_at.compare_exchange_strong(first, now_ms()) &&
        now_ms() - first >= kOneRequestMs) {
      ::_exit(128 + SIGTERM);
    }
  }
}

void on_end(int /*number*/) {
  constexpr std::string_view kText =
      "the time of the run is over; it ends at once, the last checkpoint is good\n";
  static_cast<void>(::write(STDERR_FILENO, kText.data(), kText.size()));
  ::_exit(static_cast<int>(base::Exit::kRequeue));
}

void handle(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  if (::sigaction(number, &action, nullptr) != 0) base::fail_errno("sigaction", "stop signals");
}
}  // namespace

void install_stop_signals() {
  for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) handle(number, on_signal);
  // A reader of what is printed may go; the run does not.
  handle(SIGPIPE, SIG_IGN);
}

bool stop_requested() { return g_requested; }

void end_in(double seconds) {
  handle(SIGALRM, on_end);
  itimerval timer{};
  const double wait = std::max(seconds, 1.0);
  timer.it_value.tv_sec = static_cast<time_t>(std::floor(wait));
  timer.it_value.tv_usec = static_cast<suseconds_t>(1e6 * (wait - std::floor(wait)));
  if (::setitimer(ITIMER_REAL, &timer, nullptr) != 0) base::fail_errno("setitimer", "run's end");
}

void end_no_more() {
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
}

}  // namespace rondo::app

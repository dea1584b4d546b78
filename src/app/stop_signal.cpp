#include "app/stop_signal.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "base/error.hpp"

namespace rondo::app {

namespace {
// A signal handler can reach nothing but what is static.
std::atomic<bool> g_requested = false;
std::atomic<int> g_interrupts = 0;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  g_requested = true;
  // A launcher and a batch system may both send the others, so that two of them are no impatience.
  if (number == SIGINT && g_interrupts.fetch_add(1) > 0) ::_exit(128 + SIGINT);
}
}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) {
    if (::sigaction(number, &action, nullptr) != 0) base::fail_errno("sigaction", "stop signals");
  }
}

bool stop_requested() { return g_requested; }

}  // namespace rondo::app

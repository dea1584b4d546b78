#include "app/stop_signal.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "base/error.hpp"

namespace rondo::app {

namespace {
// A signal handler can reach nothing but what is static.
std::atomic<int> g_signals = 0;
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int /*number*/) {
  if (g_signals.fetch_add(1) > 0) ::_exit(static_cast<int>(base::Exit::kRequeue));
}
}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGUSR1, SIGUSR2, SIGTERM}) {
    if (::sigaction(number, &action, nullptr) != 0) base::fail_errno("sigaction", "stop signals");
  }
}

bool stop_requested() { return g_signals.load() > 0; }

}  // namespace rondo::app

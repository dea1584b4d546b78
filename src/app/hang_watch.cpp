#include "app/hang_watch.hpp"

#include <signal.h>
#include <unistd.h>

#include <exception>
#include <string_view>

#include "app/exit_code.hpp"

namespace rondo::app {

namespace {

// Past the time that reports may take. Rank 0 is the first, and tells.
constexpr unsigned kEndSeconds = 6;
static_assert(kEndSeconds > train::HangReports::kMeetSeconds + train::HangReports::kTellSeconds);

void say(std::string_view text) {
  // Streams may be locked by what is stuck.
  static_cast<void>(::write(STDERR_FILENO, text.data(), text.size()));
}

void end_silently(int /*number*/) { ::_exit(static_cast<int>(base::Exit::kSystem)); }

void tell_and_end(int number) {
  say("no progress, and no report of it within seconds: look at the file system of the run\n");
  end_silently(number);
}

}  // namespace

HangWatch::HangWatch(const train::Config& config, Context& context)
    : rank_(context.runtime.rank()),
      recorders_(context.runtime.recorders()),
      reports_(config.run_folder(), context.control, context.runtime.host()),
      watchdog_({.factor = config.watchdog.factor,
                 .least_s = config.watchdog.least_s,
                 .first_s = config.watchdog.first_s},
                {.stuck = [this](const base::Phases::State& state) { end(state); },
                 .others_stuck = [this] { return reports_.any(); }}) {}

void HangWatch::end(const base::Phases::State& state) const {
  struct sigaction action {};
  action.sa_handler = rank_ == 0 ? tell_and_end : end_silently;
  ::sigaction(SIGALRM, &action, nullptr);
  ::alarm(rank_ == 0 ? kEndSeconds : kEndSeconds + 1);
  constexpr int kCode = static_cast<int>(base::Exit::kSystem);
  try {
    const std::string text = reports_.meet(reports_.own(state, *recorders_));
    if (text.empty()) {
      reports_.wait_for_told();
    } else {
      say(text);
      leave_exit_code(kCode);
      // From here on launchers may kill what is left.
      reports_.told(text);
    }
  } catch (const std::exception& error) {
    say(error.what());
  }
  ::_exit(kCode);
}

}  // namespace rondo::app

// SIGUSR1, SIGUSR2 and SIGTERM ask a run to stop at the next step with a checkpoint; the second one
// ends the process at once.
#pragma once

namespace rondo::app {

void install_stop_signals();
bool stop_requested();

}  // namespace rondo::app

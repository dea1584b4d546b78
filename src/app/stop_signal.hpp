// SIGTERM, SIGUSR1, SIGUSR2 and SIGINT (Ctrl-C) ask a run to stop after its next step with a
// checkpoint, however often they come; a second SIGINT ends the process at once.
#pragma once

namespace rondo::app {

// Called before MPI starts, so that no request is missed or kills the process.
void install_stop_signals();
bool stop_requested();

}  // namespace rondo::app

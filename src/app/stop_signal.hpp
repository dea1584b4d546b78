// SIGTERM, SIGUSR1, SIGUSR2 and SIGINT (Ctrl-C) ask a run to stop after its next step with a
// checkpoint. A second SIGINT, and a SIGTERM two seconds or more after the first, end the process
// at once; any number of the others are one request.
#pragma once

namespace rondo::app {

// Called before MPI starts, so that no request is missed or kills the process.
void install_stop_signals();
bool stop_requested();

// This process ends in so many seconds (at least one) with exit code 75, whatever it is at; until
// end_no_more().
void end_in(double seconds);
void end_no_more();

}  // namespace rondo::app

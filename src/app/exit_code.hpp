// The exit code of the program, for who started it.
#pragma once

namespace rondo::app {

// For launch/run, which cannot always learn it from mpirun: the last thing that rank 0 does before
// it leaves MPI is to write the exit code of the program to the file that RONDO_EXIT_FILE names; a
// rank that ends all others writes it too, since rank 0 may be the one that is lost. Leaving may
// take minutes: daemons of Open MPI that were sent SIGTERM sleep and answer nobody, and mpirun
// waits for those it cannot reach. That file is of the launcher's node: elsewhere its folder is
// missing, and nothing is written. The first code that is written stays.
void leave_exit_code(int code);

}  // namespace rondo::app

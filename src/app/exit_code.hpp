// The exit code of the program, for who started it.
#pragma once

namespace rondo::app {

// For launch/run, which cannot always learn it from mpirun: the last thing that rank 0 does is to
// write the exit code of the program to the file that RONDO_EXIT_FILE names. That file is of the
// launcher's node: elsewhere its folder is missing, and nothing is written.
void leave_exit_code(int rank, int code);

}  // namespace rondo::app

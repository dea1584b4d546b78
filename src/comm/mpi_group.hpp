// Group on an MPI communicator of its own, for CPU tensors. Collectives are non-blocking; MPI makes
// progress in wait() and poll().
#pragma once

#include <mpi.h>

#include <memory>
#include <string>

#include "comm/group.hpp"
#include "comm/watch.hpp"

namespace rondo::comm {

// The same on all ranks.
struct MpiSettings {
  // Before every collective and split the ranks exchange what they are about to call; where it
  // differs, all throw a Bug. Costs a synchronisation, counted in start_s.
  bool checked = false;
  // Of the run, for deadlines.
  std::shared_ptr<Watch> watch;
};

// Collective over `parent`: duplicates it, so that no message meets another group's. Groups split
// off have the same settings.
std::unique_ptr<Group> make_mpi_group(std::string name, MPI_Comm parent, MpiSettings settings);

}  // namespace rondo::comm

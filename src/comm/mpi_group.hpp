// Group on an MPI communicator of its own, for CPU tensors. Collectives are non-blocking; MPI makes
// progress in wait() and poll().
#pragma once

#include <mpi.h>

#include <memory>
#include <string>
#include <vector>

#include "comm/group.hpp"

namespace rondo::comm {

// Collective over `parent`: duplicates it, so that no message meets another group's.
std::unique_ptr<Group> make_mpi_group(std::string name, MPI_Comm parent);

}  // namespace rondo::comm

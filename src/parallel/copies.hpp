// Whether ranks that must hold the same weights do: replicas, and the tensor ranks that share a
// parameter. They compute the same from the same numbers, so a difference is a bug or a fault of
// the machine.
#pragma once

#include <string>

#include "parallel/unit.hpp"

namespace rondo::parallel {

// Collective over the mesh. A sentence naming a parameter of this rank whose owned weights differ,
// to the bit, from another rank's; empty when there is none.
std::string differing_copy(const Unit& unit);

}  // namespace rondo::parallel

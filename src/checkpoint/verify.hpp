// Is a checkpoint's folder what its manifest says, byte for byte?
#pragma once

#include <string>

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/manifest.hpp"

namespace rondo::checkpoint {

// Collective over all ranks of `control`, which share the work. Empty on every rank when it is,
// else why not (file, place, found, expected), the same text on every rank. Never throws for
// damage.
std::string damage_of(const std::string& path, const Manifest& manifest, comm::Control& control,
                      Verify verify);

}  // namespace rondo::checkpoint

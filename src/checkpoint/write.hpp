// The commit protocol: reserve, shards, vote, manifest, rename, LATEST
// (docs/formats/checkpoint.md).
#pragma once

#include "checkpoint/checkpoint.hpp"

namespace rondo::checkpoint {

// What happens to a published checkpoint of the same name.
enum class Existing {
  kRefuse,   // UserError, unless BAD names it
  kReplace,  // moved to .replaced-NAME just before the new one is renamed, then deleted
};

// Collective over all ranks of `control`. save() with the choice above.
SaveResult write(const SaveRequest& request, comm::Control& control, Existing existing);

}  // namespace rondo::checkpoint

// logical.h5: every tensor whole, in its own shape, as an HDF5 virtual dataset over the shards.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/manifest.hpp"

namespace rondo::checkpoint {

// Writes `path`, which lies beside the shards. Elements of a missing shard read as NaN. Not
// synced.
void write_logical(const std::string& path, const std::vector<LogicalTensor>& tensors,
                   const std::vector<Shard>& shards);

}  // namespace rondo::checkpoint

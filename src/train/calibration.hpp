// The yardstick on CPU: the speed of a plain float32 matrix product in the same process.
#pragma once

#include "comm/group.hpp"

namespace rondo::train {

// Collective over the group. Best of 12 at::mm of [2048, 512] x [512, 1408], run by all ranks at
// once; FLOP/s summed over ranks.
double calibrate(comm::Group& group);

// Collective over the group. The same; FLOP/s of this rank.
double calibrate_rank(comm::Group& group);

}  // namespace rondo::train

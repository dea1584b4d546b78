// How fast the collectives of a group are at the sizes that training uses.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "comm/group.hpp"

namespace rondo::comm {

// Collective over the group. For each operation and size: the median over `repeats` of the seconds
// of one call waited for at once (the slowest rank's), the bytes of the larger tensor per second,
// and what a ring would have sent per second (bus bandwidth, as in nccl-tests).
nlohmann::json bench_collectives(Group& group, int64_t repeats);

}  // namespace rondo::comm

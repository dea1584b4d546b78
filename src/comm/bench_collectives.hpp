// How fast the collectives of a group are at the sizes that training uses.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "comm/group.hpp"

namespace rondo::comm {

struct CollectiveTime {
  std::string operation;
  int64_t bytes = 0;           // of the larger tensor
  double seconds = 0;          // of one call waited for at once: the slowest rank's, the median
  double bytes_per_s = 0;      // of the larger tensor
  double bus_bytes_per_s = 0;  // what a ring would have sent (bus bandwidth, as in nccl-tests)
};
nlohmann::json to_json(const CollectiveTime& time);

// Collective over the group. `operation`: all_sum, sum_scatter, all_gather, all_to_all, broadcast;
// about `bytes` of float32, so often after two calls that are not timed.
CollectiveTime time_collective(Group& group, std::string_view operation, int64_t bytes,
                               int64_t repeats);

// Collective over the group. Each operation at sizes from 1 KiB to 64 MiB.
nlohmann::json bench_collectives(Group& group, int64_t repeats);

}  // namespace rondo::comm

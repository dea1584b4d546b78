// Speed and recall of cleaning, on examples that the bench makes up.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "comm/control.hpp"
#include "comm/group.hpp"

namespace rondo::data {

// Collective over all ranks. `examples` of log-normal length, mean 200 words (a quarter of them the
// user's), of a vocabulary by Zipf's law; 5 % of them are copies of others with words changed, so
// that similarities lie evenly between 0.7 and 1. Timed: exact and near-duplicates and 1,000
// questions of an evaluation. The result, on rank 0: examples/s in all and per rank, bytes held per
// example and rank, and by true similarity the share of copies that were found beside the
// probability 1 - (1 - s^8)^26.
nlohmann::json bench_clean(int64_t examples, uint64_t seed, comm::Control& control,
                           comm::Group& group);

}  // namespace rondo::data

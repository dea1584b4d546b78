// How fast packs are planned, and how full they get: the figures of `rondo bench pack`.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace rondo::data {

// Plans packs of 4096 tokens on one core for documents of log-normal length (mean 400 tokens,
// sigma of the logarithm 1, cut at the capacity). Keys: documents, capacity, mean_tokens, packs,
// fill (share of the packs' tokens that are real), seconds (sort included), documents_per_s; and of
// the first epoch in steps of packs_per_step: order_seconds, imbalance_of_8_ranks.
nlohmann::json bench_pack(int64_t documents, uint64_t seed);

}  // namespace rondo::data

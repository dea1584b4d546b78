// What each rank runs on and how fast it is there: the part of `rondo selftest` that computes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/finding.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "comm/hosts.hpp"

namespace rondo::train {

struct RankMeasured {
  std::vector<int> cores;       // that the system may run it on
  int host_cores = 0;           // that its host has
  int threads = 1;              // for compute
  int64_t memory = 0;           // bytes available on its host, divided by the ranks there
  double flops_per_s = 0;       // of the float32 matrix product that `rondo bench gemm` times
  double copy_bytes_per_s = 0;  // copied from a large buffer to another

  bool bound() const { return static_cast<int>(cores.size()) < host_cores; }
};

// Collective over all ranks, which measure at the same time; the same on all. About `seconds`, and
// the time of the product on top.
std::vector<RankMeasured> measure_ranks(const comm::Hosts& hosts, comm::Control& control,
                                        comm::Group& world, double seconds);

// Findings "cores", "matrix products" and "memory copies" from made or measured figures.
std::vector<base::Finding> judge_ranks(const std::vector<RankMeasured>& measured,
                                       const comm::Hosts& hosts);

nlohmann::json to_json(const std::vector<RankMeasured>& measured, const comm::Hosts& hosts);

}  // namespace rondo::train

// What the network and the clocks of a run's hosts are like, and which of them are worse than the
// rest: the part of `rondo selftest` that communicates.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "base/finding.hpp"
#include "comm/bench_collectives.hpp"
#include "comm/clock_offset.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "comm/hosts.hpp"
#include "comm/point_to_point.hpp"

namespace rondo::comm {

struct Link {
  int a = 0, b = 0;  // ranks, a < b
  LinkFigures figures;
};

// The same on all ranks.
struct LinksMeasured {
  std::vector<Link> within;   // neighbouring ranks of a host, two by two, all at the same time
  std::vector<Link> between;  // the first ranks of hosts: each with each, or with kMostPeers
  std::vector<ClockOffset> clocks;          // of each host against the host of rank 0
  std::vector<CollectiveTime> collectives;  // over all ranks
};
inline constexpr size_t kMostPeers = 64;

// Collective over all ranks. Takes about `seconds` on links that are not very slow. Between hosts
// all pairs of a round talk at the same time, in as many rounds as a host has peers.
LinksMeasured measure_links(const Hosts& hosts, Control& control, Group& world, double seconds);

// Findings "hosts' links", "network", "collectives", "clocks" from made or measured figures.
std::vector<base::Finding> judge_links(const LinksMeasured& measured, const Hosts& hosts);

nlohmann::json to_json(const LinksMeasured& measured, const Hosts& hosts);

}  // namespace rondo::comm

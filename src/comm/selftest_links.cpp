#include "comm/selftest_links.hpp"

#include <algorithm>

#include "comm/slowness.hpp"

namespace rondo::comm {

namespace {

constexpr double kSilenceSeconds = 30;
constexpr double kLeastSlice = 0.02, kMostSlice = 0.5;  // seconds for a pair of ranks
constexpr int64_t kBucketBytes = int64_t{4} << 20;      // of gradients on CPU (parallel/unit.cpp)
constexpr int64_t kMostRepeats = 20;

// Every rank's links, on all ranks.
std::vector<Link> gather(const std::vector<Link>& mine, Control& control) {
  auto json = nlohmann::json::array();
  for (const Link& link : mine) {
    json.push_back({link.a, link.b, link.figures.latency_s, link.figures.bytes_per_s});
  }
  std::vector<Link> all;
  for (const std::string& text : control.gather_text(json.dump())) {
    for (const auto& entry : nlohmann::json::parse(text)) {
      all.push_back({.a = entry[0],
                     .b = entry[1],
                     .figures = {.latency_s = entry[2], .bytes_per_s = entry[3]}});
    }
  }
  return all;
}

std::vector<Link> within_hosts(const Hosts& hosts, Control& control, PointToPoint& pairs,
                               double seconds) {
  const int rank = control.rank();
  const auto& here = hosts.ranks[hosts.of_rank[static_cast<size_t>(rank)]];
  const int place = hosts.local_rank(rank);
  const int other = place ^ 1;
  std::vector<Link> mine;
  if (other < static_cast<int>(here.size())) {
    const int peer = here[static_cast<size_t>(other)];
    const LinkFigures figures = pairs.measure(peer, std::min(seconds, kMostSlice));
    if (rank < peer) mine.push_back({rank, peer, figures});
  }
  pairs.meet(2 * kSilenceSeconds);
  return gather(mine, control);
}

std::vector<Link> between_hosts(const Hosts& hosts, Control& control, PointToPoint& pairs,
                                double seconds) {
  const auto by_time = static_cast<size_t>(std::max(1.0, seconds / kLeastSlice));
  const auto rounds = spread_rounds(tournament(hosts.size()), std::min(by_time, kMostPeers));
  if (rounds.empty()) return {};
  const double slice =
      std::clamp(seconds / static_cast<double>(rounds.size()), kLeastSlice, kMostSlice);
  const int rank = control.rank();
  std::vector<Link> mine;
  if (hosts.local_rank(rank) == 0) {
    for (const auto& round : rounds) {
      for (const Pair& pair : round) {
        const int a = hosts.ranks[pair.a][0];
        const int b = hosts.ranks[pair.b][0];
        if (rank != a && rank != b) continue;
        const LinkFigures figures = pairs.measure(rank == a ? b : a, slice);
        if (rank == std::min(a, b)) mine.push_back({std::min(a, b), std::max(a, b), figures});
      }
    }
  }
  pairs.meet(kSilenceSeconds * static_cast<double>(1 + rounds.size()));
  return gather(mine, control);
}

std::vector<ClockOffset> read_clocks(const Hosts& hosts, Control& control, PointToPoint& pairs) {
  const int rank = control.rank();
  auto json = nlohmann::json::array();
  for (const std::vector<int>& ranks : hosts.ranks) {
    if (rank == 0) {
      const ClockOffset offset = ranks[0] == 0 ? ClockOffset{} : pairs.ask_clock(ranks[0]);
      json.push_back({offset.offset_s, offset.error_s});
    } else if (rank == ranks[0]) {
      pairs.answer_clock(0);
    }
  }
  pairs.meet(kSilenceSeconds * static_cast<double>(hosts.size()));
  std::vector<ClockOffset> clocks;
  for (const auto& entry : nlohmann::json::parse(control.broadcast_text(json.dump()))) {
    clocks.push_back({.offset_s = entry[0], .error_s = entry[1]});
  }
  return clocks;
}

std::vector<CollectiveTime> time_collectives(Group& world, double seconds) {
  std::vector<CollectiveTime> times;
  if (world.size() == 1) return times;
  for (const char* operation : {"all_gather", "sum_scatter"}) {
    CollectiveTime time = time_collective(world, operation, kBucketBytes, 1);
    const auto repeats = static_cast<int64_t>(seconds / 2 / time.seconds) - 2;
    if (repeats > 1) {
      time = time_collective(world, operation, kBucketBytes, std::min(repeats, kMostRepeats));
    }
    times.push_back(time);
  }
  return times;
}

}  // namespace

LinksMeasured measure_links(const Hosts& hosts, Control& control, Group& world, double seconds) {
  PointToPoint pairs(hosts, kSilenceSeconds);
  LinksMeasured measured;
  measured.clocks = read_clocks(hosts, control, pairs);
  measured.within = within_hosts(hosts, control, pairs, seconds / 10);
  measured.between = between_hosts(hosts, control, pairs, seconds * 6 / 10);
  measured.collectives = time_collectives(world, seconds * 2 / 10);
  return measured;
}

}  // namespace rondo::comm

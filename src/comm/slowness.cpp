#include "comm/slowness.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace rondo::comm {

double median(std::vector<double> values) {
  RONDO_CHECK(!values.empty());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

std::vector<SlowPart> slower_than_others(const std::vector<double>& speeds, double share) {
  std::vector<SlowPart> slow;
  if (speeds.size() < 2) return slow;
  for (size_t i = 0; i < speeds.size(); ++i) {
    std::vector<double> others = speeds;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    const double usual = median(std::move(others));
    if (speeds[i] < share * usual) slow.push_back({i, speeds[i] / usual});
  }
  std::ranges::stable_sort(slow, {}, &SlowPart::share);
  return slow;
}

std::vector<std::vector<Pair>> tournament(size_t players) {
  std::vector<std::vector<Pair>> rounds;
  if (players < 2) return rounds;
  const size_t seats = players + players % 2;  // the last one rests who meets `players`
  const size_t moving = seats - 1;
  for (size_t round = 0; round < moving; ++round) {
    std::vector<Pair> pairs;
    // One seat stays; the others turn by one place a round.
    const auto add = [&](size_t a, size_t b) {
      if (a < players && b < players) pairs.push_back({std::min(a, b), std::max(a, b)});
    };
    add(round, moving);
    for (size_t k = 1; k < seats / 2; ++k) {
      add((round + k) % moving, (round + moving - k) % moving);
    }
    rounds.push_back(std::move(pairs));
  }
  return rounds;
}

std::vector<std::vector<Pair>> spread_rounds(std::vector<std::vector<Pair>> rounds, size_t most) {
  if (rounds.size() <= most) return rounds;
  std::vector<std::vector<Pair>> chosen;
  for (size_t i = 0; i < most; ++i) chosen.push_back(rounds[i * rounds.size() / most]);
  return chosen;
}

SlowHosts find_slow(size_t hosts, const std::vector<LinkSpeed>& links, double share) {
  std::vector<double> best(hosts, 0);
  for (const LinkSpeed& link : links) {
    best[link.a] = std::max(best[link.a], link.speed);
    best[link.b] = std::max(best[link.b], link.speed);
  }
  std::vector<size_t> linked;
  std::vector<double> speeds;
  for (size_t host = 0; host < hosts; ++host) {
    if (best[host] <= 0) continue;
    linked.push_back(host);
    speeds.push_back(best[host]);
  }
  SlowHosts found;
  found.comparable = linked.size() >= 3;
  if (!found.comparable) return found;
  std::vector<bool> slow(hosts, false);
  for (const SlowPart& part : slower_than_others(speeds, share)) {
    slow[linked[part.index]] = true;
    found.hosts.push_back({linked[part.index], part.share});
  }
  for (const LinkSpeed& link : links) {
    if (slow[link.a] || slow[link.b]) continue;
    const double reached = std::min(best[link.a], best[link.b]);
    if (link.speed < share * reached) found.links.push_back({link.a, link.b, link.speed / reached});
  }
  std::ranges::stable_sort(found.links, {}, &SlowLink::share);
  return found;
}

}  // namespace rondo::comm

// Which of several measured things are slower than the rest. Pure arithmetic; speeds are in any
// unit in which more is faster.
#pragma once

#include <cstddef>
#include <vector>

namespace rondo::comm {

// The mean of the middle two when their number is even. Of at least one value.
double median(std::vector<double> values);

struct SlowPart {
  size_t index;
  double share;  // of the median of the others
};
// Those that are below `share` times the median of the others, the slowest first; of one thing
// none.
std::vector<SlowPart> slower_than_others(const std::vector<double>& speeds, double share);

struct Pair {
  size_t a, b;
};
// Rounds in which each of `players` meets every other exactly once and nobody two at a time (the
// circle method of tournaments): players - 1 rounds, or `players` where their number is odd and one
// rests in each.
std::vector<std::vector<Pair>> tournament(size_t players);
// As many rounds of them, spread evenly over all; all where there are no more.
std::vector<std::vector<Pair>> spread_rounds(std::vector<std::vector<Pair>> rounds, size_t most);

struct LinkSpeed {
  size_t a, b;  // hosts
  double speed;
};
struct SlowLink {
  size_t a, b;
  double share;  // of the slower one's fastest link
};
struct SlowHosts {
  std::vector<SlowPart> hosts;
  std::vector<SlowLink> links;  // between hosts that are not slow
  // False where fewer than three hosts have links: nothing tells which end makes a link slow.
  bool comparable = false;
};
// A link is as fast as the slower of its ends, so a host is as fast as its fastest link. A host is
// slow when even that is below `share` times the median of the other hosts, so when all its links
// are; a link is slow when it is below `share` times what both its ends reach elsewhere.
SlowHosts find_slow(size_t hosts, const std::vector<LinkSpeed>& links, double share);

}  // namespace rondo::comm

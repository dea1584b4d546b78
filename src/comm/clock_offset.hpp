// How far two clocks are apart, from round trips between them (Cristian 1989, "Probabilistic clock
// synchronization"). Pure arithmetic.
#pragma once

#include <vector>

namespace rondo::comm {

// Seconds since the same epoch: when the question left and the answer arrived by the own clock,
// and what the other's clock said in between.
struct RoundTrip {
  double sent, remote, received;
};

struct ClockOffset {
  double offset_s = 0;  // the other clock minus the own
  double error_s = 0;   // the offset is right to this much, either way
};

// From the fastest of at least one round trip: the other clock was read somewhere inside it, so
// the middle is off by at most half its length.
ClockOffset clock_offset(const std::vector<RoundTrip>& trips);

}  // namespace rondo::comm

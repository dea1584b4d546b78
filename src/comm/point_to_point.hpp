// Two ranks alone with each other: latency and bandwidth of their link, and their clocks.
//
// Messages of MPI on a communicator of its own. No wait is for ever: a rank whose peer says nothing
// for `silence_s` throws a SystemError that names both and their hosts; the communicator is of no
// use then, and the run is to be ended.
#pragma once

#include <memory>

#include "comm/clock_offset.hpp"
#include "comm/hosts.hpp"

namespace rondo::comm {

struct LinkFigures {
  double latency_s = 0;    // half of the fastest round trip of 8 bytes
  double bytes_per_s = 0;  // sent by each of the two while it receives as much; median of messages
};

class PointToPoint {
 public:
  // Collective over all ranks. `hosts` must outlive it.
  PointToPoint(const Hosts& hosts, double silence_s);
  ~PointToPoint();
  PointToPoint(const PointToPoint&) = delete;
  PointToPoint& operator=(const PointToPoint&) = delete;

  // Collective over this rank and `peer`, which name each other; both get the same figures. Takes
  // about `seconds` once both are there, more on a link that needs it for 64 KiB.
  LinkFigures measure(int peer, double seconds);

  // The clock of `peer`, which calls answer_clock() for this rank; takes kTrips round trips.
  static constexpr int kTrips = 32;
  ClockOffset ask_clock(int peer);
  void answer_clock(int peer);

  // Collective over all ranks: all have come here. Those who wait leave their cores to the others.
  // SystemError after `most_s`.
  void meet(double most_s);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rondo::comm

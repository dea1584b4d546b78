#include "comm/clock_offset.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace rondo::comm {

ClockOffset clock_offset(const std::vector<RoundTrip>& trips) {
  RONDO_CHECK(!trips.empty());
  const auto length = [](const RoundTrip& trip) { return trip.received - trip.sent; };
  const RoundTrip& best = *std::ranges::min_element(trips, {}, length);
  return {.offset_s = best.remote - (best.sent + best.received) / 2, .error_s = length(best) / 2};
}

}  // namespace rondo::comm

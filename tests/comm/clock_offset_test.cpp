// Offsets from made-up round trips, and how right they are.
#include "comm/clock_offset.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace rondo::comm {
namespace {

TEST(ClockOffset, OfOneRoundTripIsTheMiddle) {
  const ClockOffset found = clock_offset({{.sent = 100, .remote = 107, .received = 102}});
  EXPECT_DOUBLE_EQ(found.offset_s, 6);
  EXPECT_DOUBLE_EQ(found.error_s, 1);
}

TEST(ClockOffset, TheFastestRoundTripCounts) {
  const ClockOffset found = clock_offset({{.sent = 0, .remote = 3, .received = 4},
                                          {.sent = 10, .remote = 11.5, .received = 11},
                                          {.sent = 20, .remote = 28, .received = 30}});
  EXPECT_DOUBLE_EQ(found.offset_s, 1);
  EXPECT_DOUBLE_EQ(found.error_s, 0.5);
}

// However uneven the ways there and back are, the truth lies within the error.
TEST(ClockOffset, TheTruthIsWithinTheError) {
  for (const double truth : {-3600.0, -0.001, 0.0, 0.25, 12.0}) {
    for (const double there : {1e-6, 1e-3, 0.5}) {
      for (const double back : {1e-6, 2e-3, 0.1}) {
        const double sent = 1000;
        const ClockOffset found = clock_offset(
            {{.sent = sent, .remote = sent + there + truth, .received = sent + there + back}});
        EXPECT_LE(std::abs(found.offset_s - truth), found.error_s + 1e-9);
      }
    }
  }
}

}  // namespace
}  // namespace rondo::comm

#include "kernels/simd.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace rondo::kernels {
namespace {

float exp_of(float x) {
  float lanes[8];
  exp(Float8::all(x)).store(lanes);
  return lanes[0];
}

TEST(Exp, IsRightToTwoUnitsInTheLastPlace) {
  double worst = 0;
  for (float x = -87.3F; x < 88.3F; x += 0.00137F) {
    const double expected = std::exp(static_cast<double>(x));
    const float rounded = static_cast<float>(expected);
    const double unit =
        static_cast<double>(std::nextafter(rounded, std::numeric_limits<float>::max())) -
        static_cast<double>(rounded);
    worst = std::max(worst, std::abs(static_cast<double>(exp_of(x)) - expected) / unit);
  }
  EXPECT_LT(worst, 2.0);
}

TEST(Exp, HasExactEnds) {
  EXPECT_EQ(exp_of(0.0F), 1.0F);
  EXPECT_EQ(exp_of(-1e4F), 0.0F);
  EXPECT_EQ(exp_of(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_TRUE(std::isnan(exp_of(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_GT(exp_of(std::numeric_limits<float>::infinity()), 1e38F);
}

TEST(Float8, LoadsAndStoresTheEndOfARow) {
  const float row[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int64_t count = 1; count < 8; ++count) {
    float out[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    EXPECT_EQ(sum_of_lanes(Float8::load(row, FirstLanes{count})),
              static_cast<float>(count * (count + 1) / 2));
    Float8::load(row).store(out, FirstLanes{count});
    for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(out[i], i < count ? row[i] : -1.0F);
  }
}

}  // namespace
}  // namespace rondo::kernels

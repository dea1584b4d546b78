#include "train/progress.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::train {
namespace {

TEST(ProgressLine, SaysWhatTheTimeLeftIsOf) {
  base::Console console(true);
  ProgressLine line(console, "basics", 0, 20, 10);
  testing::internal::CaptureStdout();
  line.show({.done = 9, .loss = 1});
  line.show({.done = 10,
             .loss = 2.5,
             .tokens_per_s = 1420,
             .trainable_per_s = 352,
             .calibration_share = 0.21});
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_THAT(text, testing::HasSubstr("basics 10/20  loss 2.5000  1.42 k tokens/s (352 trainable)"
                                       "  21% of calibration  "));
  EXPECT_THAT(text, testing::HasSubstr(" left in the round"));
}

}  // namespace
}  // namespace rondo::train

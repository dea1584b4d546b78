// Law: the same bytes as a plain copy, whatever the alignment and length, and nothing beside them.
#include "base/stream_copy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace rondo::base {
namespace {

TEST(StreamCopy, IsACopyForEveryAlignmentAndLength) {
  std::vector<float> from(70000);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
  for (const int64_t count : {0, 1, 15, 16383, 16384, 16385, 16400, 65537}) {
    for (const int64_t begin : {0, 1, 3, 8, 15}) {
      for (const int64_t at : {0, 1, 2, 7, 8, 13, 16}) {
        std::vector<float> to(70000, -1.0F);
        stream_copy(from.data() + begin, count, to.data() + at);
        std::vector<float> expected(70000, -1.0F);
        std::copy_n(from.data() + begin, count, expected.data() + at);
        EXPECT_EQ(to, expected) << count << " from " << begin << " to " << at;
      }
    }
  }
}

}  // namespace
}  // namespace rondo::base

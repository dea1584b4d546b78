#include "base/json.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace rondo::base {
namespace {

std::string refusal(std::string_view text) {
  try {
    parse_json(text, "a.json", "Make it again.");
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Json, IsReadWithEveryKeyOnce) {
  EXPECT_EQ(parse_json(R"({"a": [1, {"a": 2}, {"a": 3}]})", "", "").dump(),
            R"({"a":[1,{"a":2},{"a":3}]})");
  EXPECT_EQ(refusal(R"({"b": {"a": 1, "c": {}, "a": 2}})"),
            "a.json has the key \"a\" twice; each name must occur once. Make it again.");
  EXPECT_NE(refusal("{]").find("a.json is not valid JSON"), std::string::npos);
  EXPECT_FALSE(try_parse_json("[1").has_value());
}

TEST(Json, DeepNestingIsRefused) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(refusal(nested(kJsonMaxDepth)), "accepted");
  for (const size_t depth : {size_t{kJsonMaxDepth} + 1, size_t{1} << 20}) {
    EXPECT_EQ(refusal(nested(depth)), "a.json is nested deeper than 64 levels. Make it again.");
  }
}

TEST(Json, WholeNumbersAreNeitherFractionsNorTruthValues) {
  EXPECT_EQ(whole_number(parse_json("-9223372036854775808", "", "")),
            std::numeric_limits<int64_t>::min());
  EXPECT_EQ(whole_number(parse_json("9223372036854775807", "", "")),
            std::numeric_limits<int64_t>::max());
  for (const char* other :
       {"9223372036854775808", "1.0", "1e300", "true", "\"1\"", "null", "[1]"}) {
    EXPECT_FALSE(whole_number(parse_json(other, "", "")).has_value()) << other;
  }
}

}  // namespace
}  // namespace rondo::base

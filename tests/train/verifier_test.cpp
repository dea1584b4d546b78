#include "train/verifier.hpp"

#include <gtest/gtest.h>

#include "data/packing.hpp"

namespace rondo::train {
namespace {

Verifier by(const std::string& how, const std::string& pattern = "") {
  return Verifier({.place = "c.yaml:7", .how = how, .pattern = pattern, .command = {}});
}

TEST(Verifier, ExactIsTheSameTextButForTheSpaceAroundIt) {
  EXPECT_TRUE(by("exact").right(" 4 apples\n", "4 apples"));
  EXPECT_FALSE(by("exact").right("4  apples", "4 apples"));
  EXPECT_TRUE(by("exact").right(" ", ""));
}

TEST(Verifier, FindsTheLastNumber) {
  EXPECT_EQ(last_number("it is 1,234.50."), 1234.5);
  EXPECT_EQ(last_number("5 - 3 = 2"), 2);
  EXPECT_EQ(last_number("x=-7"), -7);
  EXPECT_EQ(last_number("3.14.15"), 3.14) << "as strtod reads it";
  EXPECT_EQ(last_number("about .5"), 0.5);
  EXPECT_EQ(last_number("#### 70000"), 70000);
  EXPECT_EQ(last_number("a, b."), std::nullopt);
  EXPECT_EQ(last_number(""), std::nullopt);
  EXPECT_EQ(last_number(std::string(400, '9')), std::nullopt) << "beyond float64";
}

TEST(Verifier, NumericComparesThem) {
  EXPECT_TRUE(by("numeric").right("So 70,000 dollars", "#### 70000"));
  EXPECT_TRUE(by("numeric").right("0.3333333", "0.33333333"));
  EXPECT_FALSE(by("numeric").right("70001", "70000"));
  EXPECT_FALSE(by("numeric").right("none", "none"));
  EXPECT_TRUE(by("numeric").right("0", "0.0"));
}

TEST(Verifier, RegexComparesTheLastMatchOrItsFirstGroup) {
  const Verifier boxed = by("regex", R"(answer: (\w+))");
  EXPECT_TRUE(boxed.right("answer: a, no, answer: b", "the answer: b."));
  EXPECT_FALSE(boxed.right("answer: b, no, answer: a", "the answer: b."));
  EXPECT_FALSE(boxed.right("b", "answer: b"));
  EXPECT_FALSE(boxed.right("answer: b", "b"));
  const std::string long_text = std::string(3 * Verifier::kMostCharacters, 'x') + " answer: b";
  EXPECT_TRUE(boxed.right(long_text, "answer: b"));
  const std::string error = data::user_error([] { by("regex", "(a"); });
  EXPECT_NE(error.find("c.yaml:7: regex: '(a' is not a regular expression"), std::string::npos);
}

}  // namespace
}  // namespace rondo::train

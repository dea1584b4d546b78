#include "data/make_words.hpp"

#include <gtest/gtest.h>

namespace rondo::data {
namespace {

// What tools/rondo_tools/words.py makes of the same texts.
TEST(MakeWords, AreThoseOfTheTokeniser) {
  EXPECT_EQ(words_of("What is 3.5 + 2?"), "what is 3.5 + 2");
  EXPECT_EQ(words_of("It's 1,000 - 5; not -7."), "it s 1,000 - 5 not - 7");
  EXPECT_EQ(words_of("a.b, c-d"), "a b c d");
  EXPECT_EQ(words_of("2<3 and x = 4"), "2 < 3 and x = 4");
  EXPECT_EQ(words_of("  \n\t"), "");
  EXPECT_EQ(words_of("3.\n4"), "3 4");
  EXPECT_EQ(words_of("x_y 50%"), "x y 50");
}

TEST(MakeWords, BeyondAscii) {
  EXPECT_EQ(words_of("Größe ÉTÉ"), "größe été");
  EXPECT_EQ(words_of("3 \u2212 2"), "3 - 2");
  EXPECT_EQ(words_of("中文ab"), "中 文 ab");
  EXPECT_EQ(words_of("a “b” … c"), "a b c");
  EXPECT_EQ(words_of("x → y"), "x → y");
  EXPECT_EQ(words_of("bad \xff byte"), "bad byte");
}

}  // namespace
}  // namespace rondo::data

#include "base/utf8.hpp"

#include <gtest/gtest.h>

namespace rondo::base {
namespace {

TEST(Utf8, ReadsCharactersOfEveryLength) {
  const struct {
    std::string_view text;
    size_t bytes;
    uint32_t code;
  } cases[] = {{"a\xC3", 1, 'a'},
               {"\xC3\xA9x", 2, 0xE9},
               {"\xE6\x97\xA5", 3, 0x65E5},
               {"\xF0\x9F\x98\x80 ", 4, 0x1F600}};
  for (const auto& [text, bytes, code] : cases) {
    const Character character = first_character(text);
    EXPECT_EQ(character.bytes, bytes);
    EXPECT_EQ(character.code, code);
  }
}

TEST(Utf8, TakesWhatCannotBeACharacterTogether) {
  const struct {
    std::string_view text;
    size_t bytes;
  } cases[] = {{"\xFFz", 1},      {"\x80\x80", 1}, {"\xC0\x80", 1},
               {"\xE6\x97 a", 2}, {"\xC3", 1},     {"\xF0\x9F\x98", 3}};
  for (const auto& [text, bytes] : cases) {
    const Character character = first_character(text);
    EXPECT_EQ(character.bytes, bytes) << text;
    EXPECT_FALSE(character.code.has_value()) << text;
  }
}

TEST(Utf8, WhatIsPrintedIsWholeAndMovesNoCursor) {
  EXPECT_EQ(printable("plain, \xC3\xA9\n\tand \xF0\x9F\x98\x80"),
            "plain, \xC3\xA9\n\tand \xF0\x9F\x98\x80");
  EXPECT_EQ(printable("a\xB6z"), "a\\xb6z");
  EXPECT_EQ(printable("\xE6\x97 \x1B[2K"), "\\xe6\\x97 \\x1b[2K");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable(""), "");
}

}  // namespace
}  // namespace rondo::base

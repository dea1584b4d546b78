#include "data/figures.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace rondo::data {
namespace {

using Counts = std::map<int64_t, int64_t>;

TEST(Figures, ClassesOfLengthsHoldEveryLengthOnceAndGrowByAQuarter) {
  int64_t last = 0;
  for (int64_t length = 1; length < 100000; ++length) {
    const int64_t begin = length_class(length);
    EXPECT_LE(begin, length);
    EXPECT_EQ(length_class(begin), begin);
    EXPECT_TRUE(begin == last || begin == length) << length;
    EXPECT_LE(4 * length, 5 * begin) << "a class is at most a quarter of its begin wide";
    last = begin;
  }
  EXPECT_EQ(length_class(39), 32);
  EXPECT_EQ(length_class(40), 40);
}

TEST(Figures, CountTurnsWordsAndScripts) {
  Figures figures;
  figures.add(7, "u what is 3.5 + 2\na 5.5", 1);
  figures.add(40, "u gr\xC3\xBC\xC3\x9F \xD0\xBF\xD1\x80 \xE6\x97\xA5 \xF0\x9F\x98\x80\na\nu\na ja",
              2);
  EXPECT_EQ(figures.lengths, (Counts{{7, 1}, {40, 2}}));
  EXPECT_EQ(figures.turns, (Counts{{2, 1}, {4, 2}}));
  EXPECT_EQ(figures.words, 6 + 2 * 5);
  const std::map<std::string, int64_t, std::less<>> scripts = {
      {"ASCII", 4 + 2 + 3 + 1 + 1 + 3 + 2 * 4},
      {"Latin", 4},
      {"Cyrillic", 4},
      {"Han", 2},
      {"symbols", 2}};
  EXPECT_EQ(figures.scripts, scripts);
}

TEST(Figures, PartsAddUpToTheWhole) {
  Figures whole;
  nlohmann::json sum = nlohmann::json::object();
  for (const int64_t length : {3, 300, 3}) {
    Figures part;
    for (Figures* figures : {&whole, &part}) {
      figures->add(length, "u a b\na c", length);
      figures->tags[fmt::format("t{}", length)] += 1;
    }
    add_counts(sum, part.to_json());
  }
  EXPECT_EQ(sum, whole.to_json());
}

TEST(Figures, BrokenCharactersAreCountedAsOther) {
  Figures figures;
  figures.add(1, "u \xFF \xE6\x97 \xC3", 1);
  EXPECT_EQ(figures.scripts.at("other"), 3);
}

}  // namespace
}  // namespace rondo::data

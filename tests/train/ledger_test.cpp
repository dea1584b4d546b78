#include "train/ledger.hpp"

#include <gtest/gtest.h>

#include "base/file.hpp"
#include "support/temp_folder.hpp"
#include "train/lineage.hpp"

namespace rondo::train {
namespace {

using nlohmann::json;

json round_line(const std::string& name, const std::string& parent, double loss) {
  return {{"kind", "round"},
          {"round", name},
          {"attempt", 0},
          {"outcome", "kept"},
          {"parents", {{{"what", parent == "base" ? "base" : "round"}, {"name", parent}}}},
          {"weights_digest", "digest-of-" + name},
          {"inputs", {{{"path", "/data/" + name}, {"xxh3", "0"}}}},
          {"heldout", {{{"source", "a"}, {"loss", loss}}}},
          {"time", "2026-01-01T00:00:00Z"},
          {"ranks", 2}};
}

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    for (const auto& [name, parent] :
         {std::pair{"one", "base"}, {"two", "one"}, {"three", "one"}}) {
      append_to_ledger(path_, round_line(name, parent, 1.5));
    }
  }
  std::vector<std::string> faults(const std::string& text) const {
    return ledger_faults(ledger_lines(text));
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    for (const auto& line : ledger_lines(base::read_text(path_))) lines.push_back(line.json.dump());
    return lines;
  }
  static std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    return text;
  }

  test::TempFolder folder_;
  std::string path_ = folder_ / "ledger.jsonl";
};

TEST_F(LedgerTest, IsWithoutFaultAsWritten) {
  EXPECT_TRUE(faults(base::read_text(path_)).empty());
  EXPECT_EQ(lines().size(), 3);
}

TEST_F(LedgerTest, EveryEditIsFound) {
  const auto whole = lines();
  for (size_t i = 0; i < whole.size(); ++i) {
    auto changed = whole;
    changed[i].replace(changed[i].find("1.5"), 3, "1.4");
    ASSERT_EQ(faults(joined(changed)).size(), 1) << i;
    EXPECT_NE(faults(joined(changed))[0].find("is not as it was written"), std::string::npos);
    auto later = whole;
    later[i].replace(later[i].find("2026"), 4, "2027");
    EXPECT_EQ(faults(joined(later)).size(), 1) << "what is no content stands in the chain";
    auto shorter = whole;
    shorter.erase(shorter.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_EQ(faults(joined(shorter)).empty(), i + 1 == whole.size()) << "the end may be missing";
    auto twice = whole;
    twice.insert(twice.begin() + static_cast<ptrdiff_t>(i), whole[i]);
    EXPECT_FALSE(faults(joined(twice)).empty());
  }
  EXPECT_FALSE(faults(joined({whole[1], whole[0], whole[2]})).empty());
  auto without = json::parse(whole[1]);
  without.erase("content");
  without.erase("chain");
  EXPECT_FALSE(faults(joined({whole[0], without.dump(), whole[2]})).empty());
}

TEST_F(LedgerTest, ALineThatAKillCutShortIsNone) {
  const std::string text = base::read_text(path_);
  base::write_text_durably(path_, text + R"({"round": "fo)");
  EXPECT_EQ(lines().size(), 3);
  append_to_ledger(path_, round_line("four", "two", 1.0));
  EXPECT_EQ(lines().size(), 4);
  EXPECT_TRUE(faults(base::read_text(path_)).empty());
}

TEST_F(LedgerTest, LinesOfEarlierVersionsHaveNoFault) {
  EXPECT_TRUE(faults(R"({"round": "old"})"
                     "\n"
                     R"({"round": "older"})")
                  .empty());
}

TEST_F(LedgerTest, ContentIsWhatTwoRunsHaveInCommon) {
  json one = round_line("one", "base", 1.5);
  json other = one;
  other["time"] = "later";
  other["ranks"] = 4;
  other["inputs"][0]["path"] = "/elsewhere";
  EXPECT_EQ(content_of(one), content_of(other));
  other["inputs"][0]["xxh3"] = "1";
  EXPECT_NE(content_of(one), content_of(other));
}

TEST_F(LedgerTest, FindsModelsAndWhereTheyComeFrom) {
  append_to_ledger(path_, round_line("two", "one", 1.2));  // done again
  json soup = round_line("soup", "two", 1.1);
  soup["parents"].push_back({{"what", "round"}, {"name", "three"}, {"weight", 0.5}});
  append_to_ledger(path_, soup);
  const auto models = models_of(ledger_lines(base::read_text(path_)));
  EXPECT_EQ(models.size(), 4);
  const auto found = find_model(models, "digest-of-soup");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(origin_in_words(*found), "(two + three * 0.5)");
  std::vector<std::string> names;
  for (const auto& model : ancestors(models, *found)) names.push_back(model["round"]);
  EXPECT_EQ(names, (std::vector<std::string>{"one", "two", "three", "soup"}));
  EXPECT_FALSE(find_model(models, "four").has_value());
}

TEST_F(LedgerTest, TheFirstDifferenceIsNamed) {
  const auto mine = ledger_lines(base::read_text(path_));
  EXPECT_EQ(first_difference(mine, mine), "");
  auto other = mine;
  other[1].json["heldout"][0]["loss"] = 2.5;
  other[1].json["ranks"] = 8;
  const std::string difference = first_difference(mine, other);
  EXPECT_NE(difference.find("line 2 (round two)"), std::string::npos);
  EXPECT_NE(difference.find("heldout: "), std::string::npos);
  EXPECT_EQ(difference.find("ranks"), std::string::npos);
  other = mine;
  other.pop_back();
  EXPECT_NE(first_difference(mine, other).find("3 lines, the other 2"), std::string::npos);
}

}  // namespace
}  // namespace rondo::train

// Strict configuration: every problem, with its line, at once.
#include "base/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace rondo::base {
namespace {

struct Inner {
  int64_t packs = 16;
  std::vector<double> betas = {0.9, 0.999};
};
struct Outer {
  std::string kind = "linear";
  double lr = 1e-3;
  Inner batch;
  Named<Inner> sources;
  std::vector<Inner> rounds;
  std::optional<std::string> note;
  bool on = false;
};

template <class V>
void describe(V& v, Inner& c) {
  v("packs", c.packs, {.meaning = "Packs.", .minimum = 1});
  v("betas", c.betas, {.meaning = "Decay rates.", .minimum = 0, .maximum = 1});
}
template <class V>
void describe(V& v, Outer& c) {
  v("kind", c.kind, {.meaning = "Kind.", .choices = {"linear", "cosine"}});
  v("lr", c.lr, {.meaning = "Rate.", .minimum = 0, .above_minimum = true});
  v("batch", c.batch, {.meaning = "Batch."});
  v("sources", c.sources, {.meaning = "Sources."});
  v("rounds", c.rounds, {.meaning = "Rounds."});
  v("note", c.note, {.meaning = "A note."});
  v("on", c.on, {.meaning = "Switch."});
}

// The problems of a text, or "" when there are none; fills `out`.
std::string problems_of(const std::string& text, Outer& out,
                        const std::vector<std::string>& overrides = {}) {
  try {
    Problems problems;
    ConfigReference reference;
    Outer defaults;
    describe(reference, defaults);
    problems.known_keys = reference.keys();
    YamlNode node = parse_yaml(text, "c.yaml", problems);
    for (const auto& o : overrides) apply_override(node, o, problems);
    ConfigReader::read(node, out, "", Field{}, problems);
    problems.throw_if_any();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}
std::string problems_of(const std::string& text) {
  Outer ignored;
  return problems_of(text, ignored);
}

TEST(Config, ReadsNestedValuesAndKeepsDefaults) {
  Outer c;
  EXPECT_EQ(problems_of("lr: 5.0e-6\nbatch: {packs: 4}\nsources:\n  a: {packs: 2}\n  b: {}\n"
                        "rounds:\n  - {packs: 7}\nnote: hello\non: true\n",
                        c),
            "");
  EXPECT_EQ(c.lr, 5.0e-6);
  EXPECT_EQ(c.batch.packs, 4);
  EXPECT_EQ(c.kind, "linear");
  ASSERT_EQ(c.sources.size(), 2u);
  EXPECT_EQ(c.sources[0].first, "a");
  EXPECT_EQ(c.sources[0].second.packs, 2);
  EXPECT_EQ(c.sources[1].second.packs, 16);
  EXPECT_EQ(c.rounds.at(0).packs, 7);
  EXPECT_EQ(c.note, "hello");
  EXPECT_TRUE(c.on);
}

TEST(Config, WhatIsWrittenReadsBack) {
  Outer c;
  ASSERT_EQ(problems_of("lr: 1.0e-7\nnote: 'a: \"b\" # c'\nrounds: [{packs: 3}, {packs: 5}]\n"
                        "sources: {x: {betas: [0.5]}}",
                        c),
            "");
  ConfigWriter writer;
  describe(writer, c);
  Outer again;
  EXPECT_EQ(problems_of(writer.text(), again), "") << writer.text();
  ConfigWriter second;
  describe(second, again);
  EXPECT_EQ(writer.text(), second.text());
  EXPECT_EQ(again.rounds.at(1).packs, 5);
  EXPECT_EQ(again.note, c.note);
}

TEST(Config, UnknownKeysNameTheNearestAndTheForeign) {
  EXPECT_THAT(problems_of("on: true\nbatch: {pakcs: 3}\n"),
              testing::HasSubstr("c.yaml:2: unknown key 'batch.pakcs'. Did you mean 'packs'?"));
  EXPECT_EQ(problems_of("max-seq-length: 4\n"),
            "c.yaml:1: unknown key 'max-seq-length'. In rondo this is batch.seq_len.");
  EXPECT_THAT(problems_of("zzzzzz: 4\n"), testing::HasSubstr("'zzzzzz'. Known here: kind, lr,"));
}

TEST(Config, AKeyOfAnotherSectionIsToldItsPlace) {
  EXPECT_EQ(problems_of("packs: 3\n"),
            "c.yaml:1: unknown key 'packs'. Did you mean 'batch.packs' or 'rounds[].packs'?");
  EXPECT_EQ(problems_of("batch: {note: x}\n"),
            "c.yaml:1: unknown key 'batch.note'. Did you mean 'note' at the top level?");
  EXPECT_EQ(problems_of("rounds: [{lr: 1}]\n"),
            "c.yaml:1: unknown key 'rounds[0].lr'. Did you mean 'lr' at the top level?");
}

TEST(Config, AFileThatHoldsNoMapIsNamed) {
  EXPECT_EQ(problems_of(""), "c.yaml: the whole must be a map of keys, found nothing.");
  EXPECT_EQ(problems_of("# a comment\n"),
            "c.yaml: the whole must be a map of keys, found nothing.");
  EXPECT_EQ(problems_of("- 1"), "c.yaml:1: the whole must be a map of keys, found a list.");
}

TEST(Config, AllProblemsAtOnce) {
  const std::string all = problems_of("lr: 0\nkind: linar\non: yes\nbatch:\n  packs: 08\n");
  EXPECT_THAT(all, testing::HasSubstr("c.yaml:1: lr is 0, it must be above 0."));
  EXPECT_THAT(all, testing::HasSubstr("c.yaml:2: kind is 'linar'"));
  EXPECT_THAT(all, testing::HasSubstr("c.yaml:3: on must be true or false, found 'yes'."));
  EXPECT_THAT(all, testing::HasSubstr("c.yaml:5: batch.packs must be a whole number, found '08'."));
}

TEST(Config, WrongTypes) {
  for (const char* text : {"lr: [1]", "lr: \"1e-5\"", "lr: nan", "lr: 1e999", "lr: 1.0x",
                           "batch: 3", "batch: [1]", "sources: 3", "rounds: {a: 1}",
                           "batch: {packs: 1.5}", "batch: {packs: 99999999999999999999}",
                           "batch: {betas: [2.0]}", "note: [1]", "- 1", "batch: {packs: -1}"}) {
    EXPECT_NE(problems_of(text), "") << text;
  }
}

TEST(Config, NumbersWithALeadingZeroAreRefused) {
  for (const char* number : {"08", "+08", "-08", "00.5", "00"}) {
    for (const char* key : {"lr", "batch: {packs"}) {
      const std::string text = fmt::format("{}: {}{}\n", key, number, key[0] == 'b' ? "}" : "");
      EXPECT_THAT(problems_of(text), testing::HasSubstr(fmt::format("found '{}'", number)));
    }
  }
  for (const char* number : {"0.5", "+0.5", "10", "1.00"}) {
    EXPECT_EQ(problems_of(fmt::format("lr: {}\n", number)), "") << number;
  }
}

TEST(Config, DuplicateKeysAliasesAndTagsAreRefused) {
  EXPECT_THAT(problems_of("lr: 1\non: true\nlr: 2\n"),
              testing::HasSubstr("c.yaml:3: the key 'lr' is given twice (first at c.yaml:1)"));
  EXPECT_THAT(problems_of("note: &a x\nkind: *a\n"), testing::HasSubstr("anchors"));
  EXPECT_THAT(problems_of("note: !!str x\n"), testing::HasSubstr("tags"));
  EXPECT_THAT(problems_of("lr: 1\n---\nlr: 2\n"), testing::HasSubstr("more than one"));
  EXPECT_THAT(problems_of("lr: [1\n"), testing::HasSubstr("not valid YAML"));
  EXPECT_THAT(problems_of(std::string(100, '[') + std::string(100, ']')),
              testing::HasSubstr("deeper than"));
}

TEST(Config, OverridesSetValuesAndSayWhatIsWrong) {
  Outer c;
  EXPECT_EQ(problems_of("lr: 1\nrounds: [{packs: 3}]\n", c,
                        {"lr=2.5", "batch.packs=9", "rounds.0.packs=4", "batch.betas=[0.1, 0.2]"}),
            "");
  EXPECT_EQ(c.lr, 2.5);
  EXPECT_EQ(c.batch.packs, 9);
  EXPECT_EQ(c.rounds.at(0).packs, 4);
  EXPECT_EQ(c.batch.betas, (std::vector<double>{0.1, 0.2}));
  EXPECT_THAT(problems_of("lr: 1\n", c, {"batch.pack=9"}),
              testing::HasSubstr("command line: unknown key 'batch.pack'"));
  EXPECT_THAT(problems_of("lr: 1\n", c, {"nonsense"}), testing::HasSubstr("section.key=value"));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "a.";
  EXPECT_THAT(problems_of("lr: 1\n", c, {deep + "b=1"}), testing::HasSubstr("deeper than"));
}

TEST(Config, OverridesNumberTheItemsOfAListWithOrWithoutBrackets) {
  const std::string text = "rounds: [{packs: 1}, {packs: 2, betas: [0.1, 0.2]}]\n";
  for (const char* item : {"rounds[1]", "rounds.1"}) {
    Outer c;
    EXPECT_EQ(problems_of(text, c, {std::string(item) + ".packs=9"}), "");
    EXPECT_EQ(c.rounds.at(0).packs, 1);
    EXPECT_EQ(c.rounds.at(1).packs, 9);
  }
  Outer c;
  EXPECT_EQ(problems_of(text, c, {"rounds[1].betas[0]=0.5", "rounds[0]={packs: 7}"}), "");
  EXPECT_EQ(c.rounds.at(1).betas, (std::vector<double>{0.5, 0.2}));
  EXPECT_EQ(c.rounds.at(0).packs, 7);
  for (const auto& [override, what] : {std::pair{"rounds.3.packs=9", "there is no '3' to set"},
                                       {"rounds[2].packs=9", "there is no '[2]' to set"},
                                       {"rounds[].packs=9", "unknown key 'rounds[]'"},
                                       {"rounds[x].packs=9", "unknown key 'rounds[x]'"},
                                       {"sources[0].packs=9", "there is no '[0]' to set"},
                                       {"batch..packs=9", "there is no '' to set"},
                                       {"lr.x=9", "there is no 'x' to set"}}) {
    EXPECT_THAT(problems_of(text + "lr: 1\nsources: {a: {}}\n", c, {override}),
                testing::HasSubstr(what))
        << override;
  }
}

TEST(Config, CountsMayHaveSuffixes) {
  Outer c;
  EXPECT_EQ(problems_of("batch: {packs: 2k}\n", c), "");
  EXPECT_EQ(c.batch.packs, 2000);
  EXPECT_NE(problems_of("batch: {packs: 1.0005k}\n", c), "");
}

TEST(Config, ReferenceListsEveryField) {
  Outer c;
  ConfigReference reference;
  describe(reference, c);
  for (const char* key : {"`kind`", "`batch.packs`", "`sources.NAME.betas`", "`rounds[].packs`"}) {
    EXPECT_THAT(reference.text(), testing::HasSubstr(key));
  }
}

}  // namespace
}  // namespace rondo::base

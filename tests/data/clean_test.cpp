// Cleaning as a part of packing: planted cases, gates, and the same bytes on any number of ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/file.hpp"
#include "base/hash.hpp"
#include "data/packed_format.hpp"
#include "data/packing.hpp"

namespace rondo::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::TempFolder;
using test::TokenizedContent;
using test::TokenizedExample;
using testing::AllOf;
using testing::HasSubstr;

std::string numbered(const char* letter, int begin, int end) {
  std::string words;
  for (int i = begin; i < end; ++i) words += fmt::format(" {}{}", letter, i);
  return words;
}

// An example of `length` tokens that no other has, saying what is given.
TokenizedExample saying(const std::string& words, size_t length = 6) {
  static int32_t next = 0;
  TokenizedExample example;
  for (size_t i = 0; i < length; ++i) {
    const auto place = static_cast<int32_t>(i);
    example.tokens.push_back((next / (place + 1) + 7 * place) % 100);
    example.codes.push_back(i < 2 ? 0 : 1);
  }
  ++next;
  example.id = static_cast<uint64_t>(next);
  example.words = words;
  return example;
}

class CleanTest : public testing::Test {
 protected:
  void write(const std::string& name, std::vector<TokenizedExample> examples,
             std::vector<int64_t> rows = {}) {
    TokenizedContent content;
    content.rows = std::move(rows);
    content.examples = std::move(examples);
    test::write_tokenized(folder_ / name, content);
  }
  PackRequest request(const std::vector<std::string>& names) const {
    PackRequest request = request_for("", folder_ / "out");
    request.sources.clear();
    for (const auto& name : names) {
      request.sources.push_back({.name = name.substr(0, 1), .files = {folder_ / name}});
    }
    return request;
  }
  json report() const { return json::parse(base::read_text(folder_ / "out/clean.json")); }

  TempFolder folder_;
};

TEST_F(CleanTest, ExactCopiesLeaveTheFirst) {
  const TokenizedExample one = saying("u one");
  TokenizedExample other_weights = one;
  other_weights.codes.back() = 0;
  TokenizedExample copy = one;
  copy.id = 1000;
  write("a.h5", {one, copy, saying("u two"), other_weights});
  write("b.h5", {copy, saying("u three")});
  PackRequest wanted = request({"a.h5", "b.h5"});
  EXPECT_EQ(pack_on(1, wanted).documents(), 6) << "off by itself";
  wanted.clean.exact = CleanAction::kReport;
  EXPECT_EQ(pack_on(1, wanted).documents(), 6);
  EXPECT_EQ(report()["findings"].size(), 2U);
  wanted.clean.exact = CleanAction::kRemove;
  const PackReport done = pack_on(1, wanted);
  EXPECT_EQ(done.documents(), 4);
  EXPECT_EQ(done.sources[0].exact_duplicates, 1);
  EXPECT_EQ(done.sources[1].exact_duplicates, 1);
  const json finding = report()["findings"][1];
  EXPECT_EQ(finding["kind"], "exact duplicate");
  EXPECT_THAT(finding["example"]["origin"].get<std::string>(), HasSubstr("b.h5:1"));
  EXPECT_THAT(finding["of"]["origin"].get<std::string>(), HasSubstr("a.h5:1"));
}

TEST_F(CleanTest, NearCopiesLeaveTheLongestOrTheFirst) {
  const std::string answer = "\na of course it is so";
  const std::string text = fmt::format("u{}{}", numbered("w", 0, 60), answer);
  const std::string changed = fmt::format("u{} x y z{}", numbered("w", 0, 57), answer);
  const std::string half =
      fmt::format("u{}{}{}", numbered("w", 0, 36), numbered("v", 0, 24), answer);
  write("a.h5", {saying(text), saying(changed, 9), saying(half), saying("u something else")});
  PackRequest wanted = request({"a.h5"});
  wanted.clean.near = CleanAction::kRemove;
  PackReport done = pack_on(1, wanted);
  EXPECT_EQ(done.documents(), 3);
  EXPECT_EQ(done.sources[0].near_duplicates, 1);
  EXPECT_THAT(report()["findings"][0]["example"]["origin"].get<std::string>(), HasSubstr(":1"));
  wanted.clean.keep_longest = false;
  EXPECT_EQ(pack_on(1, wanted).documents(), 3);
  EXPECT_THAT(report()["findings"][0]["example"]["origin"].get<std::string>(), HasSubstr(":2"));
  // Thresholds are honoured: at 0.4 the one of 60 % belongs to them, at 0.99 none does.
  wanted.clean.jaccard = 0.4;
  wanted.clean.bands = 100;
  wanted.clean.band_rows = 2;
  EXPECT_EQ(pack_on(1, wanted).documents(), 2);
  wanted.clean.jaccard = 0.99;
  EXPECT_EQ(pack_on(1, wanted).documents(), 4);
}

TEST_F(CleanTest, TheShareOfHitInstancesIsAGateOnBothSides) {
  std::vector<TokenizedExample> questions;
  for (int i = 0; i < 100; ++i) {
    questions.push_back(
        saying(fmt::format("u{}", numbered(fmt::format("q{}x", i).c_str(), 0, 12))));
  }
  write("evaluation.h5", questions);
  const auto leak = [&](size_t i) {
    return saying(fmt::format("{} and\na more", questions[i].words));
  };
  write("a.h5", {saying("u clean one"), leak(3), leak(7), leak(7), saying("u clean two")});
  PackRequest wanted = request({"a.h5"});
  wanted.clean.contamination = CleanAction::kRemove;
  wanted.clean.evaluation_sets = {{"test", {folder_ / "evaluation.h5"}}};
  const PackReport done = pack_on(1, wanted);
  EXPECT_EQ(done.documents(), 2) << "exactly 2 % of the set are hit";
  EXPECT_EQ(done.sources[0].contaminated, 3);
  EXPECT_EQ(report()["evaluation_sets"][0]["hit"]["a"], 2);
  wanted.clean.max_hit = 0.0199;
  const std::string text = user_error([&] { pack_on(2, wanted); });
  EXPECT_THAT(text, AllOf(HasSubstr("source a: its examples hold 2 of the 100 instances"),
                          HasSubstr("evaluation set test (2.00 %)"),
                          HasSubstr("clean.contamination.max_hit")));
  EXPECT_EQ(json::parse(base::read_text(folder_ / "out/plan.json"))["account"]["documents"], 2)
      << "what was there stays";
  EXPECT_TRUE(fs::exists(folder_ / "out.refused-clean.json"));
  wanted.clean.share = 0.95;
  wanted.clean.contamination = CleanAction::kReport;
  wanted.clean.max_hit = 1;
  EXPECT_EQ(pack_on(1, wanted).documents(), 5);
  EXPECT_FALSE(fs::exists(folder_ / "out.refused-clean.json"));
}

TEST_F(CleanTest, ASourceThatWouldMostlyGoIsRefused) {
  const TokenizedExample one = saying("u one");
  write("a.h5", {one, one, one, saying("u two")});
  PackRequest wanted = request({"a.h5"});
  wanted.clean.exact = CleanAction::kRemove;
  wanted.clean.max_removed = 0.49;
  EXPECT_THAT(user_error([&] { pack_on(3, wanted); }),
              AllOf(HasSubstr("2 of its 4 examples (50.0 %) would be removed as duplicates"),
                    HasSubstr("clean.max_removed")));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  wanted.clean.max_removed = 0.5;
  EXPECT_EQ(pack_on(1, wanted).documents(), 2);
}

TEST_F(CleanTest, GivesTheSameBytesOnAnyNumberOfRanks) {
  std::vector<TokenizedExample> examples;
  for (int i = 0; i < 60; ++i) {
    const std::string own = numbered(fmt::format("d{}x", i).c_str(), 0, 40);
    examples.push_back(saying(fmt::format("u{}\na yes", own)));
    if (i % 5 == 0) examples.push_back(saying(fmt::format("u{} indeed\na yes", own), 8));
    if (i % 7 == 0) examples.push_back(examples.back());
  }
  write("a.h5", examples);
  write("evaluation.h5", {saying(examples[10].words), saying("u none at all of this")});
  PackRequest wanted = request({"a.h5"});
  wanted.clean.exact = wanted.clean.near = wanted.clean.contamination = CleanAction::kRemove;
  wanted.clean.max_hit = 1;
  wanted.clean.evaluation_sets = {{"test", {folder_ / "evaluation.h5"}}};
  std::map<std::string, std::string> first;
  for (const int ranks : {1, 2, 3, 4}) {
    const PackReport done = pack_on(ranks, wanted);
    EXPECT_GT(done.sources[0].exact_duplicates, 0);
    EXPECT_GT(done.sources[0].near_duplicates, 0);
    EXPECT_GT(done.sources[0].contaminated, 0);
    std::map<std::string, std::string> hashes;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
      hashes[entry.path().filename()] = base::hash_file(entry.path());
    }
    EXPECT_TRUE(hashes.contains(kCleanFile));
    if (first.empty()) first = hashes;
    EXPECT_EQ(hashes, first) << ranks;
  }
}

TEST_F(CleanTest, WhatEarlierRoundsTrainedOnIsReportedOrRemoved) {
  const std::string text = fmt::format("u{}\na yes", numbered("w", 0, 50));
  const TokenizedExample same = saying("u the same");
  write("earlier.h5", {saying(text), same, saying("u of the earlier round")});
  write("a.h5",
        {same, saying(fmt::format("u{} so\na yes", numbered("w", 0, 50))), saying("u new")});
  for (const int ranks : {1, 3}) {
    PackRequest wanted = request({"a.h5"});
    wanted.earlier = {{.name = "before", .files = {folder_ / "earlier.h5"}}};
    const std::string plan = pack_on(ranks, wanted).plan_hash;
    wanted.clean.across_rounds = CleanAction::kReport;
    PackReport done = pack_on(ranks, wanted);
    EXPECT_EQ(done.documents(), 3);
    EXPECT_EQ(done.plan_hash, plan) << "what is only reported changes nothing";
    EXPECT_EQ(done.sources[0].in_earlier_rounds, 2);
    EXPECT_THAT(report()["findings"][0]["of"]["origin"].get<std::string>(),
                HasSubstr("earlier.h5:2"));
    wanted.clean.across_rounds = CleanAction::kRemove;
    EXPECT_EQ(pack_on(ranks, wanted).documents(), 1);
  }
}

TEST_F(CleanTest, PartsOfOneRowAreNoDuplicates) {
  const std::string begin = fmt::format("u{}\na yes\nu more\na", numbered("w", 0, 50));
  const std::vector<TokenizedExample> parts = {saying(fmt::format("{} no", begin)),
                                               saying(fmt::format("{} no\nu why\na so", begin))};
  PackRequest wanted = request({"a.h5"});
  wanted.clean.near = CleanAction::kReport;
  write("a.h5", parts, {1, 2});
  EXPECT_EQ(pack_on(1, wanted).sources[0].near_duplicates, 1);
  write("a.h5", parts, {1, 1});
  EXPECT_EQ(pack_on(1, wanted).sources[0].near_duplicates, 0);
}

}  // namespace
}  // namespace rondo::data

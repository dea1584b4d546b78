// The parts of cleaning by themselves: words, similarity, candidates, contamination.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/random.hpp"
#include "comm/local_world.hpp"
#include "data/components.hpp"
#include "data/contamination.hpp"
#include "data/exact_duplicates.hpp"
#include "data/near_duplicates.hpp"

namespace rondo::data {
namespace {

uint64_t bad_hash(std::string_view text) { return text.size() % 3; }

std::vector<std::string> texts_of(const std::string& text, const std::vector<WordRun>& runs) {
  std::vector<std::string> texts;
  for (const WordRun& run : runs) texts.emplace_back(run.of(text));
  return texts;
}

using Texts = std::vector<std::string>;

std::string cat(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text.append(part);
  return text;
}

TEST(Words, RunsStayInsideTheirTurns) {
  const std::string text = "u a b c d\na e f\nu\na\nu g h i";
  EXPECT_EQ(texts_of(text, word_runs(text, Turns::kAll, 3, true, hash_text)),
            (Texts{"a b c", "b c d", "e f", "g h i"}));
  EXPECT_EQ(texts_of(text, word_runs(text, Turns::kUser, 3, false, hash_text)),
            (Texts{"a b c", "b c d", "g h i"}));
  EXPECT_EQ(texts_of(text, word_runs(text, Turns::kAssistant, 3, false, hash_text)), Texts{});
  EXPECT_EQ(count_words(text, Turns::kUser), 7);
  EXPECT_EQ(count_words(text, Turns::kAll), 9);
  EXPECT_EQ(word_runs(text, Turns::kUser, 3, false, hash_text)[2].first_word, 4U);
  EXPECT_TRUE(word_runs("", Turns::kAll, 3, true, hash_text).empty());
}

// `count` words, of which those from `changed` on are others than in another text of this.
std::string some_words(int count, int changed, const std::string& prefix) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += fmt::format(" {}{}", i < changed ? "w" : prefix.c_str(), i);
  }
  return text;
}

TEST(Similarity, IsTheJaccardIndexOfTheShingles) {
  const std::string a = cat({"u", some_words(100, 100, "x"), "\na one two three four five"});
  const std::string b = cat({"u", some_words(100, 60, "y"), "\na one two three four five"});
  // 96 shingles each and one of the answer; 56 of the question are common.
  EXPECT_DOUBLE_EQ(similarity(a, b, 5, hash_text), 57.0 / (97 + 97 - 57));
  EXPECT_DOUBLE_EQ(similarity(a, a, 5, hash_text), 1);
  EXPECT_DOUBLE_EQ(similarity(a, b, 5, bad_hash), 57.0 / (97 + 97 - 57)) << "words decide";
}

TEST(Similarity, SeveralAnswersToOneQuestionAreComparedByTheAnswers) {
  const std::string question = cat({"u", some_words(100, 100, "x")});
  EXPECT_LT(similarity(cat({question, "\na no it is not so"}),
                       cat({question, "\na yes it is just so"}), 5, hash_text),
            0.01);
  EXPECT_DOUBLE_EQ(
      similarity(cat({question, "\na yes it is"}), cat({question, "\na yes it is"}), 5, hash_text),
      1);
}

TEST(Similarity, AChangedQuestionWithAnotherAnswerIsAnotherQuestion) {
  const std::string question = cat({"u", some_words(50, 50, "x")});
  EXPECT_GT(similarity(cat({question, " 3\na four"}), cat({question, " 5\na four"}), 5, hash_text),
            0.9);
  EXPECT_EQ(similarity(cat({question, " 3\na four"}), cat({question, " 5\na six"}), 5, hash_text),
            0);
}

// Examples in groups of three: a text, a copy of 95 %, a copy of 30 %.
std::vector<std::string> groups_of_three(int groups) {
  std::vector<std::string> texts;
  for (int g = 0; g < groups; ++g) {
    const auto text = [&](int same) {
      std::string words = "u";
      for (int i = 0; i < 100; ++i) words += fmt::format(" g{}{}{}", g, i < same ? "w" : "x", i);
      return fmt::format("{}\na it is number {} of all", words, g);
    };
    for (const int same : {100, 97, 30}) texts.push_back(text(same));
  }
  return texts;
}

TEST(NearDuplicates, AreTheSameForAnyNumberOfRanks) {
  const auto texts = groups_of_three(20);
  for (const int ranks : {1, 2, 3, 4}) {
    comm::LocalWorld::run(ranks, [&](comm::Group& group, comm::Control& control) {
      const auto found = near_duplicates(
          std::ssize(texts), [&](int64_t i) { return texts[static_cast<size_t>(i)]; },
          [](int64_t, int64_t) { return false; }, {}, control, group);
      ASSERT_EQ(found.edges.size(), 20U);
      for (size_t g = 0; g < 20; ++g) {
        EXPECT_EQ(found.edges[g].first, static_cast<int64_t>(3 * g));
        EXPECT_EQ(found.edges[g].second, static_cast<int64_t>(3 * g + 1));
        EXPECT_DOUBLE_EQ(found.edges[g].similarity, similarity(texts[0], texts[1], 5, hash_text));
      }
    });
  }
}

TEST(NearDuplicates, ObeyTheLeastSimilarityAndWhatIsUnrelated) {
  const auto texts = groups_of_three(5);
  const auto edges = [&](double jaccard, const Unrelated& unrelated) {
    size_t found = 0;
    comm::LocalWorld::run(1, [&](comm::Group& group, comm::Control& control) {
      NearSettings settings;
      settings.jaccard = jaccard;
      found = near_duplicates(
                  std::ssize(texts), [&](int64_t i) { return texts[static_cast<size_t>(i)]; },
                  unrelated, settings, control, group)
                  .edges.size();
    });
    return found;
  };
  const auto none = [](int64_t, int64_t) { return false; };
  EXPECT_EQ(edges(0.9, none), 5U);
  EXPECT_EQ(edges(0.99, none), 0U);
  EXPECT_EQ(edges(0.9, [](int64_t a, int64_t) { return a == 0; }), 4U);
}

TEST(NearDuplicates, CollidingHashesRemoveNothing) {
  std::vector<std::string> texts;
  for (int i = 0; i < 30; ++i)
    texts.push_back(fmt::format("u a{0} b{0} c{0}\na d{0} e{0}", i + 10));
  comm::LocalWorld::run(2, [&](comm::Group& group, comm::Control& control) {
    NearSettings settings;
    settings.hash = bad_hash;
    const auto read = [&](int64_t i) { return texts[static_cast<size_t>(i)]; };
    const auto found = near_duplicates(
        std::ssize(texts), read, [](int64_t, int64_t) { return false; }, settings, control, group);
    EXPECT_GT(found.candidates, 100) << "everything collides";
    EXPECT_TRUE(found.edges.empty());
    const auto first = first_of_same(std::ssize(texts), read, bad_hash, control, group);
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(first[i], static_cast<int64_t>(i));
  });
}

TEST(NearDuplicates, AWideBucketIsCountedAndStillConnected) {
  const std::vector<std::string> texts(300, "u the same words\na for all of them");
  comm::LocalWorld::run(2, [&](comm::Group& group, comm::Control& control) {
    NearSettings settings;
    settings.most_compared = 4;
    const auto found = near_duplicates(
        300, [&](int64_t i) { return texts[static_cast<size_t>(i)]; },
        [](int64_t, int64_t) { return false; }, settings, control, group);
    EXPECT_EQ(found.wide_buckets, 26);
    Components components(300);
    for (const Edge& edge : found.edges) components.connect(edge.first, edge.second);
    for (int64_t i = 0; i < 300; ++i) EXPECT_EQ(components.root(i), 0);
  });
}

TEST(ExactDuplicates, PointToTheFirstForAnyNumberOfRanks) {
  std::vector<std::string> contents;
  for (int i = 0; i < 100; ++i) contents.push_back(fmt::format("{}", i % 7 * (i % 2)));
  for (const int ranks : {1, 2, 3, 4}) {
    comm::LocalWorld::run(ranks, [&](comm::Group& group, comm::Control& control) {
      const auto first = first_of_same(
          100, [&](int64_t i) { return contents[static_cast<size_t>(i)]; }, hash_text, control,
          group);
      for (size_t i = 0; i < 100; ++i) {
        const auto expected = std::ranges::find(contents, contents[i]) - contents.begin();
        EXPECT_EQ(first[i], expected);
      }
    });
  }
}

std::vector<Hit> hits_of(const std::string& instance, const std::string& training,
                         double share = 0.5, int ngram = 8) {
  ContaminationIndex index(ngram, share, hash_text);
  index.add("u nothing of this kind is in any of the training rows at all");
  index.add(instance);
  return index.hits(training);
}

TEST(Contamination, CountsTheWordsThatCommonNgramsCover) {
  const std::string instance = cat({"u", some_words(20, 20, "x")});
  // 12 of 20 words in one run: covered by n-grams of 8.
  const auto hits = hits_of(instance, cat({"u say", some_words(12, 12, "x"), " end"}));
  ASSERT_EQ(hits.size(), 1U);
  EXPECT_EQ(hits[0].instance, 1);
  EXPECT_DOUBLE_EQ(hits[0].share, 12.0 / 20);
  EXPECT_TRUE(hits_of(instance, cat({"u", some_words(10, 10, "x")})).empty()) << "exactly a half";
  EXPECT_EQ(hits_of(instance, cat({"u", some_words(10, 10, "x")}), 0.49).size(), 1U);
  EXPECT_TRUE(hits_of(instance, cat({"u", some_words(7, 7, "x")}), 0.1).empty())
      << "no n-gram of 8";
  EXPECT_EQ(hits_of(instance, cat({"u", some_words(7, 7, "x")}), 0.1, 7).size(), 1U);
}

TEST(Contamination, LooksAtUsersTurnsAloneAndNeverAcrossThem) {
  const std::string words = some_words(20, 20, "x");
  EXPECT_TRUE(hits_of(cat({"u", words}), cat({"u hello\na", words})).empty());
  EXPECT_TRUE(hits_of(cat({"a", words}), cat({"u", words})).empty());
  const std::string split = "u w0 w1 w2 w3 w4 w5 w6\na hm\nu w7 w8 w9 w10 w11 w12 w13";
  EXPECT_TRUE(hits_of(cat({"u", words}), split).empty());
}

TEST(Contamination, AMatchSpreadOverTwoRowsDoesNotCount) {
  ContaminationIndex index(8, 0.5, hash_text);
  index.add(cat({"u", some_words(20, 20, "x")}));
  EXPECT_TRUE(index.hits(cat({"u", some_words(9, 9, "x")})).empty());
  EXPECT_TRUE(index.hits("u w10 w11 w12 w13 w14 w15 w16 w17 w18").empty());
}

TEST(Contamination, ShortInstancesAreComparedWhole) {
  EXPECT_EQ(hits_of("u what is it", "u hello\na hi\nu what is it").size(), 1U);
  EXPECT_TRUE(hits_of("u what is it", "u what is it now").empty());
  EXPECT_TRUE(hits_of("u what is it", "u hello\na what is it").empty());
}

TEST(Contamination, CollidingHashesHitNothing) {
  ContaminationIndex index(3, 0.5, bad_hash);
  for (int i = 10; i < 40; ++i) index.add(fmt::format("u a{0} b{0} c{0} d{0}", i));
  EXPECT_TRUE(index.hits("u e10 f10 g10 h10").empty());
  EXPECT_EQ(index.hits("u a12 b12 c12 d12").size(), 1U);
}

}  // namespace
}  // namespace rondo::data

#include "data/scores.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "data/packed_set.hpp"
#include "data/packing.hpp"
#include "storage/hdf5.hpp"

namespace rondo::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ScoresTest : public testing::Test {
 protected:
  void SetUp() override { test::write_tokenized(folder_ / "in.h5", content_); }

  // Scores by place in the file: 0, 0.1, 0.2, ... in another order than the examples.
  void write_scores(const std::string& name, const std::string& column, int64_t count,
                    const std::string& format = kScoresFormat) {
    auto file = storage::Hdf5File::create(folder_ / name);
    file.set_attribute("format", format);
    file.set_attribute("version", kScoresVersion);
    std::vector<uint64_t> ids;
    std::vector<float> scores;
    for (int64_t i = count - 1; i >= 0; --i) {
      ids.push_back(content_.examples[static_cast<size_t>(i)].id);
      scores.push_back(score(i));
    }
    file.write_all("example_id", ids);
    file.write_all("scores/" + column, scores);
    file.close();
  }
  static float score(int64_t i) { return static_cast<float>(i % 40) / 10; }

  PackRequest request(const Keep& keep) const {
    PackRequest request = request_for(folder_ / "in.h5", folder_ / "out");
    request.sources[0].keep = keep;
    return request;
  }
  // Numbers in the file of the examples that are packed.
  std::set<int64_t> packed(const Keep& keep, int ranks = 1) {
    pack_on(ranks, request(keep));
    const PackedSet set = PackedSet::open(folder_ / "out", 100);
    std::set<int64_t> found;
    for (int64_t p = 0; p < set.packs(); ++p) {
      for (const uint64_t id : set.example_ids(p)) {
        const auto at = std::ranges::find(content_.examples, id, &test::TokenizedExample::id);
        found.insert(at - content_.examples.begin());
      }
    }
    return found;
  }
  static std::set<int64_t> those(const std::function<bool(int64_t)>& wanted) {
    std::set<int64_t> found;
    for (int64_t i = 0; i < 80; ++i) {
      if (wanted(i)) found.insert(i);
    }
    return found;
  }

  test::TempFolder folder_;
  const test::TokenizedContent content_ = test::random_tokenized(1, 80, 4, 40);
};

TEST_F(ScoresTest, BoundsAreHonouredAndNotReachedThemselves) {
  write_scores("in.scores.h5", "ifd", 80);
  EXPECT_EQ(packed({.score = "ifd", .below = 1.0}), those([](int64_t i) { return i % 40 < 10; }));
  EXPECT_EQ(packed({.score = "ifd", .above = 1.0}), those([](int64_t i) { return i % 40 > 10; }));
  EXPECT_EQ(packed({.score = "ifd", .above = 0.5, .below = 1.0}),
            those([](int64_t i) { return i % 40 > 5 && i % 40 < 10; }));
}

TEST_F(ScoresTest, TopTakesTheHighestOfWhatTheBoundsLeave) {
  write_scores("in.scores.h5", "ifd", 80);
  EXPECT_EQ(packed({.score = "ifd", .top = 0.1}), those([](int64_t i) { return i % 40 >= 36; }));
  EXPECT_EQ(packed({.score = "ifd", .below = 1.0, .top = 0.5}, 2),
            those([](int64_t i) { return i % 40 >= 5 && i % 40 < 10; }));
  // Of equal scores the first.
  EXPECT_EQ(packed({.score = "ifd", .top = 1.0 / 80}), std::set<int64_t>{39});
}

TEST_F(ScoresTest, WhatIsNotKeptIsCountedAndChangesThePlan) {
  write_scores("in.scores.h5", "ifd", 80);
  const PackRequest half = request({.score = "ifd", .top = 0.5});
  const PackReport report = pack_on(1, half);
  EXPECT_EQ(report.sources[0].not_kept, 40);
  EXPECT_EQ(report.sources[0].documents, 40);
  EXPECT_EQ(report.to_json()["sources"][0]["not_kept"], 40);
  EXPECT_TRUE(is_current(half.out_folder, half));
  EXPECT_FALSE(is_current(half.out_folder, request({.score = "ifd", .top = 0.4})));
  write_scores("in.scores.h5", "other", 80);
  EXPECT_FALSE(is_current(half.out_folder, half));
}

TEST_F(ScoresTest, TheFileMayLieElsewhere) {
  write_scores("elsewhere.h5", "ifd", 80);
  EXPECT_EQ(packed({.score = "ifd", .file = folder_ / "elsewhere.h5", .top = 1.0 / 80}),
            std::set<int64_t>{39});
}

TEST_F(ScoresTest, WhatIsMissingIsNamed) {
  const auto said = [&](const Keep& keep) {
    return user_error([&] { pack_on(2, request(keep)); });
  };
  EXPECT_THAT(said({.score = "ifd"}), HasSubstr("in.scores.h5"));
  write_scores("in.scores.h5", "ifd", 79);
  EXPECT_THAT(said({.score = "ifd"}),
              AllOf(HasSubstr("example 79"), HasSubstr("no score \"ifd\"")));
  EXPECT_THAT(said({.score = "loss"}), HasSubstr("has no score \"loss\" (dataset /scores/loss)"));
  write_scores("in.scores.h5", "ifd", 80);
  EXPECT_THAT(said({.score = "ifd", .below = -1.0}), HasSubstr("lets none of its 80 examples"));
  write_scores("in.scores.h5", "ifd", 80, "rondo.other");
  EXPECT_THAT(said({.score = "ifd"}), HasSubstr("rondo.scores of version 1 was expected"));
}

}  // namespace
}  // namespace rondo::data

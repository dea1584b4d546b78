#include "data/score_batches.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "data/pack_inputs.hpp"
#include "data/packing.hpp"

namespace rondo::data {
namespace {

class ScoreBatchesTest : public testing::Test {
 protected:
  void SetUp() override {
    test::write_tokenized(folder_ / "in.h5", content_);
    PackRequest request;
    request.sources = {{.name = "in", .files = {folder_ / "in.h5"}}};
    request.vocab = 100;
    inputs_.emplace(PackInputs::open(request));
  }
  ScoreBatches batches(const ScoreBatchSettings& settings) const {
    return ScoreBatches(score_input(*inputs_), settings);
  }
  int64_t length(int64_t i) const {
    return std::ssize(content_.examples[static_cast<size_t>(i)].tokens);
  }

  test::TempFolder folder_;
  const test::TokenizedContent content_ = test::random_tokenized(1, 80, 2, 40);
  std::optional<PackInputs> inputs_;
};

TEST_F(ScoreBatchesTest, HoldsEveryExampleOnceWholeAndOnceAlone) {
  const ScoreBatches all = batches({.alone = true, .tokens_per_batch = 100, .most_tokens = 1000});
  EXPECT_EQ(all.rows(), 100);
  std::multiset<std::pair<int64_t, bool>> found;
  int64_t tokens = 0;
  for (int64_t b = 0; b < all.size(); ++b) {
    const PackedBatch batch = all.read(b);
    const auto parts = all.parts(b);
    ASSERT_EQ(batch.layout.documents.size(), parts.size());
    EXPECT_EQ(batch.layout.rows, 100);
    EXPECT_EQ(batch.real_tokens, all.tokens_of(b));
    tokens += batch.real_tokens;
    std::map<int64_t, int64_t> label_of;
    for (int64_t i = 0; i < batch.trainable_tokens; ++i) {
      label_of[batch.rows[i].item<int64_t>()] = batch.labels[i].item<int64_t>();
    }
    int64_t expected_labels = 0;
    for (size_t d = 0; d < parts.size(); ++d) {
      found.emplace(parts[d].example, parts[d].alone);
      const auto& example = content_.examples[static_cast<size_t>(parts[d].example)];
      const int64_t begin = parts[d].alone ? inputs_->prompt_length(parts[d].example) : 0;
      const base::Slice rows = batch.layout.documents[d];
      ASSERT_EQ(rows.size(), std::ssize(example.tokens) - begin);
      for (int64_t r = 0; r < rows.size(); ++r) {
        const auto t = static_cast<size_t>(begin + r);
        EXPECT_EQ(batch.tokens[rows.begin + r].item<int32_t>(), example.tokens[t]);
        if (r + 1 == rows.size() || example.codes[t + 1] == 0) continue;
        ++expected_labels;
        EXPECT_EQ(label_of.at(rows.begin + r), example.tokens[t + 1]);
      }
    }
    EXPECT_EQ(batch.trainable_tokens, expected_labels);
  }
  EXPECT_EQ(tokens, all.tokens());
  std::multiset<std::pair<int64_t, bool>> wanted;
  for (int64_t i = 0; i < 80; ++i) {
    wanted.emplace(i, false);
    if (length(i) - inputs_->prompt_length(i) >= 2) wanted.emplace(i, true);
  }
  EXPECT_EQ(found, wanted);
}

TEST_F(ScoreBatchesTest, TheLongestExampleRaisesABatchAndWhatIsTooLongIsLeftOut) {
  int64_t longest = 0;
  int64_t over = 0;
  for (int64_t i = 0; i < 80; ++i) {
    if (length(i) <= 30) longest = std::max(longest, length(i));
    over += length(i) > 30 ? 1 : 0;
  }
  ASSERT_GT(over, 0);
  const ScoreBatches few = batches({.tokens_per_batch = 4, .most_tokens = 30});
  EXPECT_EQ(few.rows(), longest);
  EXPECT_EQ(few.too_long(), over);
  for (int64_t b = 0; b < few.size(); ++b) {
    for (const ScorePart& part : few.parts(b)) {
      EXPECT_LE(length(part.example), 30);
      EXPECT_FALSE(part.alone);
    }
  }
}

TEST_F(ScoreBatchesTest, TheMostWorkComesFirstAndNothingBehindTheLast) {
  const ScoreBatches all = batches({.tokens_per_batch = 64, .most_tokens = 1000});
  for (int64_t b = 1; b < all.size(); ++b) {
    EXPECT_LE(all.read(b).layout.attention_pairs, all.read(b - 1).layout.attention_pairs);
  }
  const PackedBatch behind = all.read(all.size());
  EXPECT_EQ(behind.layout.rows, 64);
  EXPECT_EQ(behind.trainable_tokens + behind.real_tokens, 0);
}

}  // namespace
}  // namespace rondo::data

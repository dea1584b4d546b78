#include "train/evaluation.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "data/loader.hpp"
#include "data/packing.hpp"
#include "train/training.hpp"

namespace rondo::train {
namespace {

EvaluationRow row_of(double a, double b) { return {{"a", {a, 0.5}}, {"b", {b, 0.25}}}; }

// base 3.0, first 2.0, second 2.6 on a.
ForgettingMatrix matrix() {
  ForgettingMatrix all;
  all.set("base", row_of(3.0, 4.0));
  all.set("first", row_of(2.0, 4.5));
  all.set("second", row_of(2.6, 1.0));
  return all;
}

TEST(ForgettingMatrix, KeepsItsOrder) {
  ForgettingMatrix all = matrix();
  EXPECT_EQ(all.row("third"), nullptr);
  all.set("second", row_of(1.5, 1.0));
  EXPECT_EQ(all.row("second")->front().second.loss, 1.5) << "a row set again is replaced";
  EXPECT_EQ(all.names(), (std::vector<std::string>{"base", "first", "second"}));
  EXPECT_EQ(all.to_json().size(), 3);
}

TEST(ForgettingMatrix, JsonReadsBackToTheBit) {
  ForgettingMatrix all = matrix();
  all.set("third", row_of(0.1 + 0.2, std::nan("")));
  const std::string text = all.to_json().dump();
  const auto back = ForgettingMatrix::from_json(nlohmann::json::parse(text));
  EXPECT_EQ(back.to_json().dump(), text);
  EXPECT_EQ(back.row("third")->at(0).second.loss, 0.1 + 0.2);
  EXPECT_EQ(back.row("third")->at(0).second.accuracy, 0.5);
  EXPECT_TRUE(std::isnan(back.row("third")->at(1).second.loss));
}

class EvaluatorTest : public testing::Test {
 protected:
  EvaluatorTest() {
    // Different lengths, weights and numbers of trained tokens; 23 packs fit no number of ranks.
    auto content = test::random_tokenized(3, 60, 2, kSeqLen, 53);
    content.weight_table = {0.0F, 1.0F, 0.25F};
    for (size_t i = 0; i < content.examples.size(); i += 3) content.examples[i].codes.back() = 2;
    test::write_tokenized(folder_ / "in.h5", content);
    data::PackRequest request = data::request_for(folder_ / "in.h5", folder_ / "packed");
    request.seq_len = kSeqLen;
    request.vocab = 53;
    data::pack_on(1, request);
    set_ = std::make_unique<data::PackedSet>(data::PackedSet::open(folder_ / "packed", 53));
  }

  // Loss and accuracy from the loss of every row, document by document, in float64.
  HeldoutScore formula(data::Average average) const {
    const Alone alone;
    const auto model = new_model(*alone.group, 5);
    double loss = 0;
    double weight = 0;
    double correct = 0;
    double trained = 0;
    for (int64_t pack = 0; pack < set_->packs(); ++pack) {
      const data::PackedBatch batch = set_->read({{pack}});
      const at::Tensor logits = model->logits(batch.tokens, batch.layout, batch.rows);
      const at::Tensor ce = -at::log_softmax(logits.to(at::kDouble), 1)
                                 .gather(1, batch.labels.unsqueeze(1))
                                 .squeeze(1);
      const at::Tensor w = batch.weights.to(at::kDouble);
      correct += static_cast<double>((logits.argmax(1) == batch.labels).sum().item<int64_t>());
      trained += static_cast<double>(batch.trainable_tokens);
      for (int64_t d = 0; d < std::ssize(batch.example_ids); ++d) {
        const at::Tensor mine = (batch.examples == d).to(at::kDouble) * w;
        const double total = mine.sum().item<double>();
        if (total == 0) continue;
        const double scale = average == data::Average::kExamples ? 1 / total : 1;
        loss += (mine * ce).sum().item<double>() * scale;
        weight += total * scale;
      }
    }
    return {loss / weight, correct / trained};
  }

  test::TempFolder folder_;
  std::unique_ptr<data::PackedSet> set_;
};

TEST_F(EvaluatorTest, IsTheFormulaOnAnyNumberOfRanks) {
  double by_tokens = 0;
  for (const auto average : {data::Average::kTokens, data::Average::kExamples}) {
    const HeldoutScore expected = formula(average);
    for (const int size : {1, 2, 3, 4}) {
      for (const int64_t micro_packs : {1, 3}) {
        on_ranks(size, [&](comm::Group& group, comm::Control& control) {
          const auto model = new_model(group, 5);
          Stepper stepper(*model, control);
          const Evaluator evaluator({{"a", set_.get()}}, average, micro_packs, group, control);
          const EvaluationRow row = *evaluator.evaluate(stepper);
          ASSERT_EQ(row.size(), 1);
          EXPECT_EQ(row[0].first, "a");
          EXPECT_NEAR(row[0].second.loss, expected.loss, 1e-6 * expected.loss);
          EXPECT_EQ(row[0].second.accuracy, expected.accuracy);
        });
      }
    }
    if (average == data::Average::kTokens) by_tokens = expected.loss;
    if (average == data::Average::kExamples) {
      EXPECT_GT(std::abs(by_tokens - expected.loss), 1e-4 * by_tokens) << "they are to differ";
    }
  }
}

// Contract 1 for both averages, through the loader, with a short last step.
TEST_F(EvaluatorTest, ATrainingStepHasTheSameLossAsAnEvaluation) {
  for (const auto average : {data::Average::kTokens, data::Average::kExamples}) {
    const HeldoutScore expected = formula(average);
    for (const int size : {1, 2, 3, 4}) {
      on_ranks(size, [&](comm::Group& group, comm::Control& control) {
        const auto model = new_model(group, 5);
        Stepper stepper(*model, control);
        data::Loader loader(*set_, {.packs_per_step = base::round_up(set_->packs() + 1, 24),
                                    .micro_packs = 2,
                                    .rank = group.rank(),
                                    .size = group.size(),
                                    .average = average});
        ASSERT_EQ(loader.steps_per_epoch(), 1);
        const auto result = stepper.run(loader.step(0), settings_of(1));
        EXPECT_TRUE(result.updated);
        EXPECT_NEAR(result.totals.loss(), expected.loss, 1e-6 * expected.loss);
        EXPECT_NEAR(result.totals.correct / result.totals.trainable_tokens, expected.accuracy,
                    1e-12);
      });
    }
  }
}

}  // namespace
}  // namespace rondo::train

#include "model/model.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "comm/group.hpp"
#include "comm/local_world.hpp"
#include "model/small_model.hpp"
#include "model/weights.hpp"
#include "support/close.hpp"

namespace rondo::model {
namespace {

using test::relative_error;

class ModelTest : public testing::Test {
 protected:
  const c10::InferenceMode guard_;
  std::unique_ptr<comm::Group> group_ = comm::make_self_group();
};

std::vector<at::Tensor> gradients(const Model& model) {
  std::vector<at::Tensor> all;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    all.push_back(model.unit(u).flat_grads().clone());
  }
  return all;
}

TEST_F(ModelTest, GradientsAreReadyFromTheLastUnitToTheFirstAndCompleteThen) {
  for (const bool tied : {false, true}) {
    Shape shape = small_shape();
    shape.tied = tied;
    Model model(shape, *group_, true);
    model.initialise(1);
    const Batch batch = make_batch(20, {{0, 9}, {9, 18}}, shape.vocab, 0);
    std::vector<size_t> order;
    std::vector<at::Tensor> then(model.unit_count());
    model.forward_backward(batch.input(), 1, [&](size_t unit) {
      order.push_back(unit);
      then[unit] = model.unit(unit).flat_grads().clone();
    });
    EXPECT_EQ(order, (std::vector<size_t>{3, 2, 1, 0}));
    for (size_t u = 0; u < model.unit_count(); ++u) {
      EXPECT_TRUE(at::equal(then[u], model.unit(u).flat_grads())) << model.unit(u).name();
      EXPECT_GT(then[u].norm().item<double>(), 0) << model.unit(u).name();
    }
  }
}

TEST_F(ModelTest, MicroBatchesAddUpToTheWholeBatch) {
  const Shape shape = small_shape();
  Model model(shape, *group_, true);
  model.initialise(2);
  const Batch whole = make_batch(40, {{0, 10}, {10, 20}, {20, 33}, {33, 40}}, shape.vocab, 0);
  const auto loss = model.forward_backward(whole.input(), 0.25, {}).read();
  const std::vector<at::Tensor> expected = gradients(model);

  model.zero_grad();
  kernels::HeadLoss sum;
  for (const int64_t begin : {0, 20}) {
    Batch part;
    part.tokens = whole.tokens.slice(0, begin, begin + 20).contiguous();
    std::vector<base::Slice> documents;
    for (const base::Slice& document : whole.layout.documents) {
      if (document.begin >= begin && document.end <= begin + 20) {
        documents.push_back({document.begin - begin, document.end - begin});
      }
    }
    part.layout = kernels::PackedLayout::make(20, documents);
    const at::Tensor mine = at::logical_and(whole.rows.ge(begin), whole.rows.lt(begin + 20));
    part.rows = whole.rows.masked_select(mine) - begin;
    part.labels = whole.labels.masked_select(mine);
    part.weights = whole.weights.masked_select(mine);
    const auto one = model.forward_backward(part.input(), 0.25, {}).read();
    sum.weighted_loss += one.weighted_loss;
    sum.weight += one.weight;
    sum.correct += one.correct;
  }
  EXPECT_NEAR(sum.weighted_loss, loss.weighted_loss, 1e-5 * loss.weighted_loss);
  EXPECT_EQ(sum.weight, loss.weight);
  EXPECT_EQ(sum.correct, loss.correct);
  for (size_t u = 0; u < model.unit_count(); ++u) {
    EXPECT_LT(relative_error(model.unit(u).flat_grads(), expected[u]), 1e-5);
  }
}

// A central difference along a random direction, in every unit: no oracle but the forward.
TEST_F(ModelTest, TheGradientIsTheSlopeOfTheLoss) {
  Shape shape = small_shape();
  shape.qk_norm = true;
  Model model(shape, *group_, true);
  model.initialise(3);
  const Batch batch = make_batch(24, {{0, 11}, {13, 24}}, shape.vocab, 1);
  model.forward_backward(batch.input(), 1, {});
  for (size_t u = 0; u < model.unit_count(); ++u) {
    at::Tensor weights = model.unit(u).flat_weights();
    const at::Tensor kept = weights.clone();
    const at::Tensor direction = model.unit(u).flat_grads() / model.unit(u).flat_grads().norm();
    const double slope = at::dot(direction, model.unit(u).flat_grads()).item<double>();
    const double step = 1e-2;
    weights.add_(direction, step);
    const double above = model.forward(batch.input()).read().weighted_loss;
    weights.copy_(kept).sub_(direction, step);
    const double below = model.forward(batch.input()).read().weighted_loss;
    weights.copy_(kept);
    EXPECT_NEAR((above - below) / (2 * step), slope, 2e-2 * slope) << model.unit(u).name();
  }
}

TEST_F(ModelTest, ABatchWithoutTrainableRowsChangesNothingButReportsReady) {
  Model model(small_shape(), *group_, true);
  model.initialise(4);
  Batch batch = make_batch(16, {}, 61, 0);
  int ready = 0;
  const auto loss = model.forward_backward(batch.input(), 1, [&](size_t) { ++ready; }).read();
  EXPECT_EQ(loss.weight, 0);
  EXPECT_EQ(ready, 4);
  for (const at::Tensor& gradient : gradients(model)) {
    EXPECT_EQ(gradient.abs().max().item<float>(), 0);
  }
}

TEST_F(ModelTest, EvaluationAgreesWithTrainingAndLeavesGradientsAlone) {
  const Shape shape = small_shape();
  Model model(shape, *group_, true);
  model.initialise(5);
  const Batch batch = make_batch(30, {{0, 12}, {12, 30}}, shape.vocab, 0);
  const auto trained = model.forward_backward(batch.input(), 1, {}).read();
  const std::vector<at::Tensor> before = gradients(model);
  kernels::RowLosses each;
  const auto evaluated = model.forward(batch.input(), &each).read();
  EXPECT_EQ(evaluated.weighted_loss, trained.weighted_loss);
  EXPECT_EQ(evaluated.correct, trained.correct);
  EXPECT_EQ(each.correct_n.sum().item<double>(), static_cast<double>(evaluated.correct));
  EXPECT_NEAR((each.losses_n * batch.weights).sum().item<double>(), trained.weighted_loss,
              1e-5 * trained.weighted_loss);
  for (size_t u = 0; u < model.unit_count(); ++u) {
    EXPECT_TRUE(at::equal(before[u], model.unit(u).flat_grads()));
  }
  // The workspace shrank to one block's and grew back: the same bits.
  model.zero_grad();
  model.forward_backward(batch.input(), 1, {});
  for (size_t u = 0; u < model.unit_count(); ++u) {
    EXPECT_TRUE(at::equal(before[u], model.unit(u).flat_grads()));
  }
}

TEST_F(ModelTest, ActivationBytesAreWhatIsAllocated) {
  for (const bool qk_norm : {false, true}) {
    for (const int64_t rows : {17, 64}) {
      Shape shape = small_shape();
      shape.qk_norm = qk_norm;
      shape.head_width = 10;
      Model model(shape, *group_, true);
      model.initialise(6);
      const Batch batch = make_batch(rows, {{0, rows}}, shape.vocab, 0);
      EXPECT_EQ(model.workspace_bytes(), 0);
      model.forward_backward(batch.input(), 1, {});
      const int64_t bytes = model.workspace_bytes();
      EXPECT_GT(bytes, rows * shape.hidden * 4);
      const Batch shorter = make_batch(9, {{0, 9}}, shape.vocab, 0);
      model.forward_backward(shorter.input(), 1, {});
      EXPECT_EQ(model.workspace_bytes(), bytes);
    }
  }
}

TEST_F(ModelTest, FreshWeightsHaveTheStatedDeviationsAndTheSameBitsForEveryLayout) {
  Shape shape = small_shape();
  shape.hidden = 128;
  shape.head_width = 32;
  shape.vocab = 500;
  std::vector<std::vector<at::Tensor>> worlds;
  for (const int size : {1, 3}) {
    std::vector<at::Tensor> weights;
    comm::LocalWorld::run(size, [&](comm::Group& group) {
      const c10::InferenceMode guard;
      Model model(shape, group, false);
      model.initialise(7);
      if (group.rank() != size - 1) return;
      for (size_t u = 0; u < model.unit_count(); ++u) {
        for (size_t i = 0; i < model.unit(u).parameters().size(); ++i) {
          weights.push_back(model.unit(u).weight(i).clone());
        }
      }
    });
    worlds.push_back(weights);
  }
  const auto parameters = all_parameters(shape);
  ASSERT_EQ(worlds[0].size(), parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_TRUE(at::equal(worlds[0][i], worlds[1][i])) << parameters[i].name;
    if (parameters[i].shape.size() == 1) {
      EXPECT_TRUE(worlds[0][i].eq(1).all().item<bool>()) << parameters[i].name;
      EXPECT_FALSE(parameters[i].decay);
      continue;
    }
    const bool residual = parameters[i].name.ends_with("o_proj.weight") ||
                          parameters[i].name.ends_with("down_proj.weight");
    const double std = residual ? 0.02 / 2 : 0.02;  // sqrt(2 * 2 layers) = 2
    EXPECT_NEAR(worlds[0][i].std().item<double>(), std, 0.05 * std) << parameters[i].name;
  }
}

TEST_F(ModelTest, PollIsCalledBetweenOperations) {
  const Shape shape = small_shape();
  Model model(shape, *group_, true);
  model.initialise(8);
  int64_t polls = 0;
  model.set_poll([&] { ++polls; });
  const Batch batch = make_batch(12, {{0, 12}}, shape.vocab, 0);
  model.forward_backward(batch.input(), 1, {});
  EXPECT_GE(polls, 14 * shape.layers);
}

TEST_F(ModelTest, DocumentsBeyondTheKnownPositionsAreRefused) {
  const Shape shape = small_shape();
  Model model(shape, *group_, true);
  model.initialise(9);
  const Batch batch = make_batch(65, {{0, 65}}, shape.vocab, 0);
  EXPECT_THROW(model.forward(batch.input()), base::UserError);
}

}  // namespace
}  // namespace rondo::model

#include <gtest/gtest.h>

#include <tuple>

#include "base/error.hpp"
#include "kernels/numbers.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;
using test::unwritten;

constexpr double kScale = 0.125;

struct Result {
  HeadLoss sums;
  at::Tensor dx, dhead;
  RowLosses each;
};

// n rows out of t, hidden d, vocabulary v, chunks of `chunk` rows.
class HeadLossOf
    : public ::testing::TestWithParam<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>> {
 protected:
  const int64_t n = std::get<0>(GetParam());
  const int64_t t = std::get<1>(GetParam());
  const int64_t d = std::get<2>(GetParam());
  const int64_t v = std::get<3>(GetParam());
  const int64_t chunk = std::get<4>(GetParam());
  const at::Tensor x = normal({t, d}, 1);
  const at::Tensor head = normal({v, d}, 2);
  const at::Tensor rows = at::randperm(t, at::kLong).narrow(0, 0, n).contiguous();
  const at::Tensor labels = test::whole(n, v, 3, at::kLong);
  const at::Tensor weights = normal({n}, 4).abs();
  const at::Tensor earlier = normal({v, d}, 5);

  Result run(int64_t chunk_rows) const {
    Result result{{}, unwritten({t, d}), earlier.clone(), {unwritten({n}), unwritten({n})}};
    result.sums = head_loss(x, head, rows, labels, weights, kScale, &result.dx, &result.dhead,
                            &result.each, {.chunk_rows = chunk_rows})
                      .read();
    return result;
  }
};

TEST_P(HeadLossOf, EqualsItsReference) {
  const Result result = run(chunk);
  Result expected{{}, unwritten({t, d}), earlier.clone(), {unwritten({n}), unwritten({n})}};
  expected.sums = reference::head_loss(x, head, rows, labels, weights, kScale, &expected.dx,
                                       &expected.dhead, &expected.each);
  EXPECT_NEAR(result.sums.weighted_loss, expected.sums.weighted_loss,
              1e-6 * expected.sums.weighted_loss);
  EXPECT_DOUBLE_EQ(result.sums.weight, expected.sums.weight);
  EXPECT_EQ(result.sums.correct, expected.sums.correct);
  EXPECT_LT(relative_error(result.each.losses_n, expected.each.losses_n), 1e-6);
  EXPECT_TRUE(at::equal(result.each.correct_n, expected.each.correct_n));
  EXPECT_LT(relative_error(result.dx, expected.dx), 2e-6);
  EXPECT_LT(relative_error(result.dhead, expected.dhead), 2e-6);
}

TEST_P(HeadLossOf, EqualsAutograd) {
  if (n == 0) return;  // cross_entropy of nothing is not defined
  const Result result = run(chunk);
  at::Tensor x_leaf = x.to(at::kDouble).requires_grad_();
  at::Tensor head_leaf = head.to(at::kDouble).requires_grad_();
  const at::Tensor losses = at::cross_entropy_loss(
      at::mm(x_leaf.index_select(0, rows), head_leaf.t()), labels, {}, at::Reduction::None);
  const at::Tensor loss = (losses * weights.to(at::kDouble)).sum();
  (loss * kScale).backward();
  EXPECT_NEAR(result.sums.weighted_loss, loss.item<double>(), 1e-6 * loss.item<double>());
  EXPECT_LT(relative_error(result.each.losses_n, losses.detach()), 1e-6);
  EXPECT_LT(relative_error(result.dx, x_leaf.grad()), 2e-6);
  EXPECT_LT(relative_error(result.dhead, head_leaf.grad() + earlier), 2e-6);
}

TEST_P(HeadLossOf, WithoutGradientsGivesTheSameLoss) {
  const Result result = run(chunk);
  RowLosses each{unwritten({n}), unwritten({n})};
  const HeadLoss alone = head_loss(x, head, rows, labels, weights, kScale, nullptr, nullptr, &each,
                                   {.chunk_rows = chunk})
                             .read();
  EXPECT_EQ(alone.weighted_loss, result.sums.weighted_loss);
  EXPECT_EQ(alone.correct, result.sums.correct);
  EXPECT_TRUE(same_bits(each.losses_n, result.each.losses_n));
  EXPECT_TRUE(same_bits(each.correct_n, result.each.correct_n));
}

TEST_P(HeadLossOf, RepeatsToTheBit) {
  const Result once = run(chunk), again = run(chunk);
  EXPECT_EQ(once.sums.weighted_loss, again.sums.weighted_loss);
  EXPECT_TRUE(same_bits(once.dx, again.dx));
  EXPECT_TRUE(same_bits(once.dhead, again.dhead));
}

// To rounding only: the library that multiplies the matrices may order its sums by threads.
TEST_P(HeadLossOf, IsTheSameForOtherThreadsAndChunks) {
  const Result alone = run(chunk);
  for (const Result& other : {test::with_threads(2, [&] { return run(chunk); }), run(chunk + 3)}) {
    EXPECT_NEAR(alone.sums.weighted_loss, other.sums.weighted_loss,
                1e-6 * alone.sums.weighted_loss);
    EXPECT_LT(relative_error(other.dx, alone.dx), 1e-6);
    EXPECT_LT(relative_error(other.dhead, alone.dhead), 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, HeadLossOf,
                         ::testing::Values(std::tuple{0, 5, 8, 11, 4}, std::tuple{1, 1, 8, 1, 4},
                                           std::tuple{5, 9, 7, 13, 1},
                                           std::tuple{8, 20, 16, 100, 4},
                                           std::tuple{9, 20, 16, 1027, 4},
                                           std::tuple{33, 64, 48, 2100, 1024}));

HeadLoss loss_of_logits(const at::Tensor& logits, int64_t label) {
  const at::Tensor labels = at::full({1}, label, at::kLong);
  return head_loss(at::ones({1, 1}), logits.view({-1, 1}), at::zeros({1}, at::kLong), labels,
                   at::ones({1}), 1.0, nullptr, nullptr, nullptr)
      .read();
}

TEST(HeadLossValues, LargeLogitsGiveFiniteLosses) {
  at::Tensor logits = at::zeros({19});
  logits[3] = 1e4;
  logits[17] = -1e4;
  EXPECT_EQ(loss_of_logits(logits, 3).weighted_loss, 0.0);
  EXPECT_EQ(loss_of_logits(logits, 17).weighted_loss, 2e4);
  EXPECT_EQ(loss_of_logits(logits, 0).weighted_loss, 1e4);
}

TEST(HeadLossValues, NonFiniteLogitsReachTheLoss) {
  for (const float bad : {NAN, INFINITY}) {
    for (const int64_t at : {0, 7, 8, 18}) {
      at::Tensor logits = at::zeros({19});
      logits[at] = bad;
      EXPECT_FALSE(std::isfinite(loss_of_logits(logits, 4).weighted_loss));
      EXPECT_EQ(loss_of_logits(logits, 4).correct, 0);
    }
  }
  EXPECT_FALSE(std::isfinite(loss_of_logits(at::full({19}, -INFINITY), 4).weighted_loss));
}

TEST(HeadLossValues, AmongEqualLogitsTheLowestIdIsThePrediction) {
  at::Tensor logits = at::zeros({19});
  logits[11] = 2;
  logits[18] = 2;
  EXPECT_EQ(loss_of_logits(logits, 11).correct, 1);
  EXPECT_EQ(loss_of_logits(logits, 18).correct, 0);
  EXPECT_EQ(loss_of_logits(logits, 0).correct, 0);
}

TEST(HeadLossValues, ALabelOrRowOutsideIsABug) {
  const auto run = [](int64_t row, int64_t label) {
    head_loss(at::ones({2, 4}), at::ones({3, 4}), at::full({1}, row, at::kLong),
              at::full({1}, label, at::kLong), at::ones({1}), 1.0, nullptr, nullptr, nullptr)
        .read();
  };
  EXPECT_NO_THROW(run(1, 2));
  EXPECT_THROW(run(2, 0), base::Bug);
  EXPECT_THROW(run(0, 3), base::Bug);
  EXPECT_THROW(run(0, -1), base::Bug);
}

}  // namespace
}  // namespace rondo::kernels

#include <gtest/gtest.h>

#include <tuple>

#include "kernels/numbers.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;
using test::unwritten;

constexpr double kEps = 1e-5;

class RmsNorm : public ::testing::TestWithParam<std::tuple<int64_t, int64_t>> {
 protected:
  const int64_t rows = std::get<0>(GetParam());
  const int64_t d = std::get<1>(GetParam());
  const at::Tensor x = normal({rows, d}, 1, 3.0);
  const at::Tensor residual = normal({rows, d}, 2);
  const at::Tensor weight = normal({d}, 3);
  const at::Tensor dout = normal({rows, d}, 4);
};

TEST_P(RmsNorm, EqualsItsReference) {
  at::Tensor out = unwritten({rows, d}), rstd = unwritten({rows});
  at::Tensor expected = unwritten({rows, d}), expected_rstd = unwritten({rows});
  rms_norm(x, weight, kEps, out, rstd);
  reference::rms_norm(x, weight, kEps, expected, expected_rstd);
  EXPECT_LT(relative_error(out, expected), 1e-6);
  EXPECT_LT(relative_error(rstd, expected_rstd), 1e-6);
}

TEST_P(RmsNorm, OfASumEqualsItsReference) {
  at::Tensor sum = unwritten({rows, d}), out = unwritten({rows, d}), rstd = unwritten({rows});
  at::Tensor expected_sum = unwritten({rows, d}), expected = unwritten({rows, d});
  at::Tensor expected_rstd = unwritten({rows});
  add_rms_norm(x, residual, weight, kEps, sum, out, rstd);
  reference::add_rms_norm(x, residual, weight, kEps, expected_sum, expected, expected_rstd);
  EXPECT_TRUE(same_bits(sum, expected_sum));
  EXPECT_LT(relative_error(out, expected), 1e-6);
  EXPECT_LT(relative_error(rstd, expected_rstd), 1e-6);
}

TEST_P(RmsNorm, OfASumMayOverwriteEitherTerm) {
  at::Tensor sum = unwritten({rows, d}), out = unwritten({rows, d}), rstd = unwritten({rows});
  add_rms_norm(x, residual, weight, kEps, sum, out, rstd);
  for (const bool over_x : {true, false}) {
    at::Tensor left = x.clone(), right = residual.clone();
    at::Tensor other = unwritten({rows, d});
    add_rms_norm(left, right, weight, kEps, over_x ? left : right, other, rstd);
    EXPECT_TRUE(same_bits(over_x ? left : right, sum));
    EXPECT_TRUE(same_bits(other, out));
  }
}

TEST_P(RmsNorm, BackwardEqualsItsReference) {
  at::Tensor out = unwritten({rows, d}), rstd = unwritten({rows});
  rms_norm(x, weight, kEps, out, rstd);
  for (const bool accumulate : {false, true}) {
    at::Tensor dx = accumulate ? residual.clone() : unwritten({rows, d});
    at::Tensor dweight = normal({d}, 5);
    at::Tensor expected_dx = dx.clone(), expected_dweight = dweight.clone();
    rms_norm_backward(dout, x, weight, rstd, accumulate, dx, dweight);
    reference::rms_norm_backward(dout, x, weight, rstd, accumulate, expected_dx, expected_dweight);
    EXPECT_LT(relative_error(dx, expected_dx), 1e-6);
    EXPECT_LT(relative_error(dweight, expected_dweight), 2e-6);
  }
}

TEST_P(RmsNorm, BackwardEqualsAutograd) {
  at::Tensor out = unwritten({rows, d}), rstd = unwritten({rows});
  rms_norm(x, weight, kEps, out, rstd);
  at::Tensor dx = unwritten({rows, d}), dweight = at::zeros({d});
  rms_norm_backward(dout, x, weight, rstd, false, dx, dweight);

  at::Tensor x_leaf = x.to(at::kDouble).requires_grad_();
  at::Tensor weight_leaf = weight.to(at::kDouble).requires_grad_();
  at::rms_norm(x_leaf, {d}, weight_leaf, kEps).backward(dout.to(at::kDouble));
  EXPECT_LT(relative_error(dx, x_leaf.grad()), 1e-6);
  EXPECT_LT(relative_error(dweight, weight_leaf.grad()), 2e-6);
}

TEST_P(RmsNorm, DoesNotDependOnThreads) {
  const auto run = [&] {
    at::Tensor out = unwritten({rows, d}), rstd = unwritten({rows});
    at::Tensor dx = unwritten({rows, d}), dweight = at::zeros({d});
    rms_norm(x, weight, kEps, out, rstd);
    rms_norm_backward(dout, x, weight, rstd, false, dx, dweight);
    return at::cat({out.flatten(), rstd, dx.flatten(), dweight});
  };
  const at::Tensor alone = run();
  EXPECT_TRUE(same_bits(test::with_threads(3, run), alone));
}

INSTANTIATE_TEST_SUITE_P(Sizes, RmsNorm,
                         ::testing::Values(std::tuple{1, 3}, std::tuple{3, 7}, std::tuple{5, 80},
                                           std::tuple{257, 33}, std::tuple{1030, 64},
                                           std::tuple{300, 512}));

TEST(RmsNormValues, NonFiniteInputStaysNonFinite) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    at::Tensor x = normal({1, 20}, 1);
    x[0][19] = bad;
    at::Tensor out = at::zeros({1, 20}), rstd = at::zeros({1});
    rms_norm(x, at::ones({20}), kEps, out, rstd);
    EXPECT_FALSE(std::isfinite(out.sum().item<float>()));
  }
}

}  // namespace
}  // namespace rondo::kernels

#include <gtest/gtest.h>

#include "kernels/numbers.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;

struct State {
  at::Tensor weights, m, v;
};
State make_state(int64_t n) {
  return {normal({n}, 1), normal({n}, 2, 0.01), normal({n}, 3, 0.01).square()};
}

AdamStep example(int64_t count) {
  return {.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .step = count};
}

class Adamw : public ::testing::TestWithParam<int64_t> {};

TEST_P(Adamw, EqualsItsReference) {
  const int64_t n = GetParam();
  AdamStep step = example(3);
  step.grad_scale = 0.37;
  State state = make_state(n), expected = make_state(n);
  const at::Tensor grads = normal({n}, 4, 0.1);
  adamw(step, grads, state.weights, state.m, state.v);
  reference::adamw(step, grads, expected.weights, expected.m, expected.v);
  EXPECT_LT(relative_error(state.weights, expected.weights), 2e-7);
  EXPECT_LT(relative_error(state.m, expected.m), 2e-7);
  EXPECT_LT(relative_error(state.v, expected.v), 2e-7);
}

TEST_P(Adamw, FollowsPyTorchOverManySteps) {
  const int64_t n = GetParam();
  State state = make_state(n), expected = make_state(n);
  for (int64_t count = 1; count <= 20; ++count) {
    const AdamStep step = example(count);
    const at::Tensor grads = normal({n}, 100 + static_cast<uint64_t>(count), 0.1);
    adamw(step, grads, state.weights, state.m, state.v);
    at::_fused_adamw_({expected.weights}, {grads}, {expected.m}, {expected.v}, {},
                      {at::tensor(static_cast<float>(count))}, step.lr, step.beta1, step.beta2,
                      step.weight_decay, step.eps, false, false);
  }
  EXPECT_LT(relative_error(state.weights, expected.weights), 3e-7);
  EXPECT_LT(relative_error(state.m, expected.m), 3e-7);
  EXPECT_LT(relative_error(state.v, expected.v), 3e-7);
}

TEST_P(Adamw, DoesNotDependOnThreads) {
  const int64_t n = GetParam();
  const at::Tensor grads = normal({n}, 4);
  const auto run = [&] {
    State state = make_state(n);
    adamw(example(1), grads, state.weights, state.m, state.v);
    return at::cat({state.weights, state.m, state.v});
  };
  const at::Tensor alone = run();
  EXPECT_TRUE(same_bits(test::with_threads(3, run), alone));
}

TEST_P(Adamw, UpdatesEveryElementAloneWhereverTheBufferIsCut) {
  const int64_t n = GetParam();
  const int64_t cut = n / 3;
  const at::Tensor grads = normal({n}, 4);
  State whole = make_state(n), parts = make_state(n);
  adamw(example(2), grads, whole.weights, whole.m, whole.v);
  for (const auto& [begin, size] : {std::pair{int64_t{0}, cut}, std::pair{cut, n - cut}}) {
    at::Tensor weights = parts.weights.narrow(0, begin, size);
    at::Tensor m = parts.m.narrow(0, begin, size);
    at::Tensor v = parts.v.narrow(0, begin, size);
    adamw(example(2), grads.narrow(0, begin, size), weights, m, v);
  }
  EXPECT_TRUE(same_bits(parts.weights, whole.weights));
  EXPECT_TRUE(same_bits(parts.m, whole.m));
  EXPECT_TRUE(same_bits(parts.v, whole.v));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Adamw, ::testing::Values(1, 13, 4096, 100003));

TEST(SquaredNorm, EqualsItsReferenceForAnyNumberOfThreads) {
  for (const int64_t n : {0, 1, 15, 16, 65536, 200001}) {
    const at::Tensor flat = normal({n}, 5);
    const double norm = squared_norm(flat);
    const double expected = reference::squared_norm(flat);
    EXPECT_NEAR(norm, expected, 1e-12 * expected);
    EXPECT_EQ(test::with_threads(3, [&] { return squared_norm(flat); }), norm);
  }
}

TEST(SquaredNorm, DoesNotOverflowOrHideNonFiniteValues) {
  EXPECT_DOUBLE_EQ(squared_norm(at::full({4}, 0x1p120F)), 4 * 0x1p240);
  for (const float bad : {NAN, INFINITY}) {
    at::Tensor flat = at::zeros({70000});
    flat[69999] = bad;
    EXPECT_FALSE(std::isfinite(squared_norm(flat)));
  }
}

}  // namespace
}  // namespace rondo::kernels

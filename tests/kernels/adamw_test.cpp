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

// The exact new moments stand one unit of bfloat16 apart at most from what is stored, above as
// often as it takes for the mean; every element alone, wherever the buffer is cut.
TEST(AdamwInBf16, RoundsMomentsStochastically) {
  constexpr int64_t kCount = 100003;
  AdamStep step = example(3);
  step.noise_key = 7;
  const at::Tensor grads = at::full({kCount}, 0.1F);
  const auto run = [&](int64_t cut) {
    at::Tensor weights = at::zeros({kCount});
    at::Tensor m = at::full({kCount}, 0.05, at::kBFloat16);
    at::Tensor v = at::full({kCount}, 0.002, at::kBFloat16);
    for (const auto& [begin, size] : {std::pair{int64_t{0}, cut}, std::pair{cut, kCount - cut}}) {
      AdamStep part = step;
      part.first = begin;
      at::Tensor w = weights.narrow(0, begin, size), a = m.narrow(0, begin, size),
                 b = v.narrow(0, begin, size);
      adamw(part, grads.narrow(0, begin, size), w, a, b);
    }
    return std::tuple{weights, m, v};
  };
  const auto [weights, m, v] = run(0);
  for (const auto& [found, before, gain, power] :
       {std::tuple{m, 0.05F, 0.1, 1}, std::tuple{v, 0.002F, 0.05, 2}}) {
    const double old = static_cast<double>(at::BFloat16(before));
    const double exact = old + gain * ((power == 1 ? 0.1 : 0.01) - old);
    const at::Tensor values = found.to(at::kDouble);
    const double unit = exact / 128;
    EXPECT_LT((values - exact).abs().max().item<double>(), unit);
    EXPECT_EQ(std::get<0>(at::_unique(values)).numel(), 2);
    // Of so many the mean is within a few thousandths of a unit.
    EXPECT_NEAR(values.mean().item<double>(), exact, 0.01 * unit);
  }
  // The rounding of one says nothing of the other's.
  const at::Tensor up_m = m.to(at::kDouble) > m.to(at::kDouble).mean();
  const at::Tensor up_v = v.to(at::kDouble) > v.to(at::kDouble).mean();
  const double both = (up_m * up_v).to(at::kDouble).mean().item<double>();
  const double apart =
      up_m.to(at::kDouble).mean().item<double>() * up_v.to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(both, apart, 0.01);

  const auto [weights_cut, m_cut, v_cut] = run(kCount / 3);
  EXPECT_TRUE(same_bits(weights_cut, weights) && same_bits(m_cut, m) && same_bits(v_cut, v));
  step.noise_key = 8;
  EXPECT_FALSE(same_bits(std::get<1>(run(0)), m));
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

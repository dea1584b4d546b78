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

class Swiglu : public ::testing::TestWithParam<std::tuple<int64_t, int64_t>> {
 protected:
  const int64_t rows = std::get<0>(GetParam());
  const int64_t f = std::get<1>(GetParam());
  const at::Tensor gate_up = normal({rows, 2 * f}, 1, 4.0);
  const at::Tensor dout = normal({rows, f}, 2);
};

TEST_P(Swiglu, EqualsItsReference) {
  at::Tensor out = unwritten({rows, f}), expected = unwritten({rows, f});
  swiglu(gate_up, out);
  reference::swiglu(gate_up, expected);
  EXPECT_LT(relative_error(out, expected), 1e-6);
}

TEST_P(Swiglu, BackwardEqualsItsReferenceAndAutograd) {
  at::Tensor gradient = gate_up.clone(), expected = gate_up.clone();
  swiglu_backward(dout, gradient);
  reference::swiglu_backward(dout, expected);
  EXPECT_LT(relative_error(gradient, expected), 1e-6);

  at::Tensor leaf = gate_up.to(at::kDouble).requires_grad_();
  (at::silu(leaf.narrow(1, 0, f)) * leaf.narrow(1, f, f)).backward(dout.to(at::kDouble));
  EXPECT_LT(relative_error(gradient, leaf.grad()), 1e-6);
}

TEST_P(Swiglu, DoesNotDependOnThreads) {
  const auto run = [&] {
    at::Tensor out = unwritten({rows, f}), gradient = gate_up.clone();
    swiglu(gate_up, out);
    swiglu_backward(dout, gradient);
    return at::cat({out.flatten(), gradient.flatten()});
  };
  const at::Tensor alone = run();
  EXPECT_TRUE(same_bits(test::with_threads(3, run), alone));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Swiglu,
                         ::testing::Values(std::tuple{1, 1}, std::tuple{3, 7}, std::tuple{5, 96},
                                           std::tuple{129, 1001}));

TEST(SwigluValues, HugeGatesGiveTheLimits) {
  const at::Tensor gate_up = at::tensor({1e4F, -1e4F, 100.0F, -100.0F, 2.0F, 3.0F, 2.0F, 3.0F});
  at::Tensor out = unwritten({1, 4});
  swiglu(gate_up.view({1, 8}), out);
  EXPECT_TRUE(at::allclose(out, at::tensor({2e4F, 0.0F, 200.0F, 0.0F}).view({1, 4})));
  at::Tensor gradient = gate_up.view({1, 8}).clone();
  swiglu_backward(at::ones({1, 4}), gradient);
  EXPECT_TRUE(at::allclose(gradient.flatten(),
                           at::tensor({2.0F, 0.0F, 2.0F, 0.0F, 1e4F, 0.0F, 100.0F, 0.0F})));
}

TEST(SwigluValues, NanStaysNan) {
  at::Tensor gate_up = at::ones({1, 20});
  gate_up[0][3] = NAN;
  at::Tensor out = at::zeros({1, 10});
  swiglu(gate_up, out);
  EXPECT_TRUE(std::isnan(out[0][3].item<float>()));
}

}  // namespace
}  // namespace rondo::kernels

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "kernels/numbers.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;

constexpr int64_t kPositions = 40;

struct Tables {
  at::Tensor cos, sin;
};
Tables tables(int64_t width) {
  const at::Tensor angle = normal({kPositions, width / 2}, 9, 10.0);
  return {angle.cos(), angle.sin()};
}

class Rope : public ::testing::TestWithParam<int64_t> {
 protected:
  static constexpr int64_t kRows = 37;
  static constexpr int64_t kHeads = 3;
  const int64_t width = GetParam();
  const int64_t stride = kHeads * width + 5;
  const Tables table = tables(width);
  const at::Tensor positions = test::whole(kRows, kPositions, 8, at::kInt);
  const at::Tensor x = normal({kRows, stride}, 1);
};

TEST_P(Rope, EqualsItsReferenceAndLeavesOtherColumnsAlone) {
  for (const bool inverse : {false, true}) {
    at::Tensor turned = x.clone(), expected = x.clone();
    rope(turned, stride, 2, width, positions, table.cos, table.sin, inverse);
    reference::rope(expected, stride, 2, width, positions, table.cos, table.sin, inverse);
    EXPECT_LT(relative_error(turned, expected), 1e-6);
    EXPECT_TRUE(same_bits(turned.narrow(1, 2 * width, stride - 2 * width),
                          x.narrow(1, 2 * width, stride - 2 * width)));
  }
}

TEST_P(Rope, TakesAViewThatBeginsInsideTheRow) {
  at::Tensor turned = x.clone(), expected = x.clone();
  at::Tensor from_second_head = turned.narrow(1, width, 2 * width);
  rope(from_second_head, stride, 2, width, positions, table.cos, table.sin, false);
  at::Tensor heads = expected.narrow(1, width, 2 * width).contiguous();
  reference::rope(heads, 2 * width, 2, width, positions, table.cos, table.sin, false);
  expected.narrow(1, width, 2 * width).copy_(heads);
  EXPECT_LT(relative_error(turned, expected), 1e-6);
}

TEST_P(Rope, InverseIsTheGradient) {
  const int64_t heads_width = kHeads * width;
  const at::Tensor values = x.narrow(1, 0, heads_width).contiguous();
  const at::Tensor dout = normal({kRows, heads_width}, 2);
  at::Tensor dx = dout.clone();
  rope(dx, heads_width, kHeads, width, positions, table.cos, table.sin, true);

  at::Tensor leaf = values.to(at::kDouble).requires_grad_();
  const auto halves = leaf.view({kRows, kHeads, 2, width / 2}).unbind(2);
  const at::Tensor rows = positions.to(at::kLong);
  const at::Tensor cos = table.cos.to(at::kDouble).index_select(0, rows).unsqueeze(1);
  const at::Tensor sin = table.sin.to(at::kDouble).index_select(0, rows).unsqueeze(1);
  at::stack({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, 2)
      .backward(dout.to(at::kDouble).view({kRows, kHeads, 2, width / 2}));
  EXPECT_LT(relative_error(dx, leaf.grad()), 1e-6);
}

TEST_P(Rope, DoesNotDependOnThreads) {
  const auto run = [&] {
    at::Tensor turned = x.repeat({40, 1});
    rope(turned, stride, kHeads, width, positions.repeat({40}), table.cos, table.sin, false);
    return turned;
  };
  const at::Tensor alone = run();
  EXPECT_TRUE(same_bits(test::with_threads(3, run), alone));
}

INSTANTIATE_TEST_SUITE_P(HeadWidths, Rope, ::testing::Values(2, 8, 20, 64, 80, 128));

TEST(RopeTables, APositionBeyondTheTableIsABug) {
  at::Tensor x = at::zeros({1, 8});
  const at::Tensor position = at::full({1}, kPositions, at::kInt);
  const Tables table = tables(8);
  EXPECT_THROW(rope(x, 8, 1, 8, position, table.cos, table.sin, false), base::Bug);
}

}  // namespace
}  // namespace rondo::kernels

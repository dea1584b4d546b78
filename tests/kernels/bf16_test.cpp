// bfloat16 on the CPU: every kernel gives what it gives for the same numbers in float32, rounded
// once where it is stored; sums of parameters' gradients are not rounded.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "kernels/kernels.hpp"
#include "kernels/matmul.hpp"
#include "kernels/numbers.hpp"
#include "kernels/simd.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;
using test::unwritten;

// Widths that are no multiples of eight as well.
constexpr int64_t kRows = 37;
constexpr int64_t kWidths[] = {1, 7, 8, 20, 129};

at::Tensor bf16(const at::Tensor& values) { return values.to(at::kBFloat16); }
// Numbers that bfloat16 holds, as float32.
at::Tensor rounded(std::vector<int64_t> sizes, uint64_t seed) {
  return bf16(normal(std::move(sizes), seed)).to(at::kFloat);
}

TEST(Bf16, StoringRoundsToTheNearestAndKeepsNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  // One, its neighbours, half way to them (to even), the largest, what is above it, NaN with bits
  // that would carry.
  const float values[8] = {1.0F,
                           0x1.01p0F,
                           0x1.03p0F,
                           0x1.010001p0F,
                           0x1.fep127F,
                           0x1.ffp127F,
                           std::bit_cast<float>(0x7FFFFFFFU),
                           -infinity};
  const at::Tensor from = at::tensor(at::ArrayRef<float>(values, 8));
  for (const int64_t count : {1, 5, 8}) {
    at::Tensor to = at::zeros({8}, at::kBFloat16);
    auto* out = to.mutable_data_ptr<at::BFloat16>();
    by_eights(count, [&](int64_t i, auto lanes) {
      Float8::load(values + i, lanes).store(out + i, lanes);
    });
    const at::Tensor expected = bf16(from);
    for (int64_t i = 0; i < 8; ++i) {
      const float found = to[i].item<float>();
      const float wanted = i < count ? expected[i].item<float>() : 0.0F;
      EXPECT_TRUE(found == wanted || (found != found && wanted != wanted)) << i << " of " << count;
    }
  }
}

TEST(Bf16, Norms) {
  for (const int64_t d : kWidths) {
    const at::Tensor x = rounded({kRows, d}, 1), more = rounded({kRows, d}, 2);
    const at::Tensor weight = rounded({d}, 3), dout = rounded({kRows, d}, 4);
    at::Tensor rstd = unwritten({kRows}), exact_rstd = unwritten({kRows});
    at::Tensor exact = unwritten({kRows, d}), out = bf16(exact);
    rms_norm(x, weight, 1e-5, exact, exact_rstd);
    rms_norm(bf16(x), bf16(weight), 1e-5, out, rstd);
    EXPECT_TRUE(same_bits(out, bf16(exact)) && same_bits(rstd, exact_rstd)) << d;
    at::Tensor again = bf16(unwritten({kRows, d}));
    rms_norm_again(bf16(x), bf16(weight), rstd, again);
    EXPECT_TRUE(same_bits(again, out)) << d;

    // The norm is that of the sum as it is stored.
    at::Tensor sum = bf16(unwritten({kRows, d})), of_sum = bf16(unwritten({kRows, d}));
    add_rms_norm(bf16(x), bf16(more), bf16(weight), 1e-5, sum, of_sum, rstd);
    EXPECT_TRUE(same_bits(sum, bf16(x + more))) << d;
    rms_norm(sum, bf16(weight), 1e-5, out, exact_rstd);
    EXPECT_TRUE(same_bits(of_sum, out) && same_bits(rstd, exact_rstd)) << d;

    for (const bool accumulate : {false, true}) {
      at::Tensor dx = rounded({kRows, d}, 5), dweight = normal({d}, 6);
      at::Tensor dx_rounded = bf16(dx), dweight_again = dweight.clone();
      rms_norm_backward(dout, x, weight, rstd, accumulate, dx, dweight);
      rms_norm_backward(bf16(dout), bf16(x), bf16(weight), rstd, accumulate, dx_rounded,
                        dweight_again);
      EXPECT_TRUE(same_bits(dx_rounded, bf16(dx)) && same_bits(dweight_again, dweight)) << d;
    }
  }
}

TEST(Bf16, ElementwiseKernels) {
  for (const int64_t f : kWidths) {
    const at::Tensor gate_up = rounded({kRows, 2 * f}, 1), dout = rounded({kRows, f}, 2);
    at::Tensor exact = unwritten({kRows, f}), out = bf16(exact);
    swiglu(gate_up, exact);
    swiglu(bf16(gate_up), out);
    EXPECT_TRUE(same_bits(out, bf16(exact))) << f;
    at::Tensor gradient = gate_up.clone(), gradient_rounded = bf16(gate_up);
    swiglu_backward(dout, gradient);
    swiglu_backward(bf16(dout), gradient_rounded);
    EXPECT_TRUE(same_bits(gradient_rounded, bf16(gradient))) << f;

    const at::Tensor positions = test::whole(kRows, 50, 3, at::kInt);
    const at::Tensor cos = normal({50, f}, 4), sin = normal({50, f}, 5);
    for (const bool inverse : {false, true}) {
      at::Tensor x = rounded({kRows, 3 * 2 * f}, 6), x_rounded = bf16(x);
      rope(x, 6 * f, 2, 2 * f, positions, cos, sin, inverse);
      rope(x_rounded, 6 * f, 2, 2 * f, positions, cos, sin, inverse);
      EXPECT_TRUE(same_bits(x_rounded, bf16(x))) << f;
    }
  }
}

TEST(Bf16, Embedding) {
  for (const int64_t d : kWidths) {
    const at::Tensor table = rounded({17, d}, 1), dout = rounded({kRows, d}, 2);
    const at::Tensor tokens = test::whole(kRows, 20, 3, at::kInt);
    at::Tensor exact = unwritten({kRows, d}), out = bf16(exact);
    embed(table, tokens, exact, 2);
    embed(bf16(table), tokens, out, 2);
    EXPECT_TRUE(same_bits(out, bf16(exact))) << d;
    at::Tensor gradient = normal({17, d}, 4), gradient_again = gradient.clone();
    embed_backward(dout, tokens, gradient, 2);
    embed_backward(bf16(dout), tokens, gradient_again, 2);
    EXPECT_TRUE(same_bits(gradient_again, gradient)) << d;
  }
}

TEST(Bf16, Products) {
  const at::Tensor a = rounded({kRows, 33}, 1), b = rounded({21, 33}, 2), c = rounded({33, 21}, 3);
  const at::Tensor e = rounded({kRows, 21}, 4);
  at::Tensor exact = unwritten({kRows, 21}), out = bf16(exact);
  matmul_nt(a, b, exact);
  matmul_nt(bf16(a), bf16(b), out);
  EXPECT_TRUE(same_bits(out, bf16(exact)));
  matmul_nn(a, c, exact);
  matmul_nn(bf16(a), bf16(c), out);
  EXPECT_TRUE(same_bits(out, bf16(exact)));
  // Gradients of weights stay float32, and are added to.
  at::Tensor sum = normal({33, 21}, 5), sum_again = sum.clone();
  matmul_tn(a, e, sum, {.accumulate = true});
  matmul_tn(bf16(a), bf16(e), sum_again, {.accumulate = true});
  EXPECT_TRUE(same_bits(sum_again, sum));
  EXPECT_ANY_THROW(matmul_nt(bf16(a), bf16(b), out, {.accumulate = true}));
  EXPECT_ANY_THROW(matmul_nt(a, bf16(b), exact));
  EXPECT_ANY_THROW(matmul_nt(a, b, out));
}

TEST(Bf16, Attention) {
  const AttentionShape shape{4, 2, 20};
  const auto layout = PackedLayout::make(40, {{0, 7}, {7, 30}, {33, 40}});
  const at::Tensor qkv = rounded({40, 8 * 20}, 1), dout = rounded({40, 80}, 2);
  at::Tensor exact = unwritten({40, 80}), out = bf16(exact);
  at::Tensor logsumexp = unwritten({4, 40}), logsumexp_again = unwritten({4, 40});
  attention(qkv, shape, layout, exact, logsumexp);
  attention(bf16(qkv), shape, layout, out, logsumexp_again);
  EXPECT_TRUE(same_bits(out, bf16(exact)) && same_bits(logsumexp, logsumexp_again));
  at::Tensor gradient = unwritten({40, 160}), gradient_rounded = bf16(gradient);
  attention_backward(dout, qkv, out.to(at::kFloat), logsumexp, shape, layout, gradient);
  attention_backward(bf16(dout), bf16(qkv), out, logsumexp, shape, layout, gradient_rounded);
  EXPECT_TRUE(same_bits(gradient_rounded, bf16(gradient)));
}

TEST(Bf16, HeadLossIsThatOfRoundedLogits) {
  const int64_t d = 24, v = 53, n = 19;
  const at::Tensor x = rounded({kRows, d}, 1), head = rounded({v, d}, 2);
  const at::Tensor rows = at::arange(0, 2 * n, 2, at::kLong).clamp_max(kRows - 1);
  const at::Tensor labels = test::whole(n, v, 3, at::kLong), weights = normal({n}, 4).abs();
  at::Tensor dx = bf16(unwritten({kRows, d})), dhead = at::zeros({v, d});
  RowLosses each{unwritten({n}), unwritten({n})};
  const HeadLoss sums = head_loss(bf16(x), bf16(head), rows, labels, weights, 0.5, &dx, &dhead,
                                  &each, {.chunk_rows = 8})
                            .read();
  const at::Tensor gathered = x.index_select(0, rows).to(at::kDouble);
  const at::Tensor logits = bf16(gathered.matmul(head.to(at::kDouble).t())).to(at::kDouble);
  const at::Tensor log_p = at::log_softmax(logits, 1);
  const at::Tensor wanted = -log_p.gather(1, labels.unsqueeze(1)).squeeze(1);
  // Few logits lie so near to half way that float32 sums round them otherwise.
  EXPECT_LT(relative_error(each.losses_n, wanted), 1e-4);
  EXPECT_NEAR(sums.weighted_loss, (wanted * weights).sum().item<double>(),
              1e-4 * sums.weighted_loss);
  const at::Tensor dlogits =
      0.5 * weights.unsqueeze(1) * (log_p.exp() - at::one_hot(labels, v).to(at::kDouble));
  EXPECT_LT(relative_error(dhead, dlogits.t().matmul(gathered)), 4e-3);
  EXPECT_LT(relative_error(dx.index_select(0, rows), dlogits.matmul(head.to(at::kDouble))), 6e-3);
}

}  // namespace
}  // namespace rondo::kernels

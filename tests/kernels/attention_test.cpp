#include <gtest/gtest.h>

#include <vector>

#include "kernels/numbers.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;
using test::unwritten;

struct Result {
  at::Tensor out, logsumexp, dqkv;
  at::Tensor flat() const { return at::cat({out.flatten(), logsumexp.flatten(), dqkv.flatten()}); }
};

int64_t row_width(const AttentionShape& shape) {
  return (shape.heads + 2 * shape.kv_heads) * shape.head_width;
}

Result run(const at::Tensor& qkv, const at::Tensor& dout, const AttentionShape& shape,
           const PackedLayout& layout) {
  Result result{unwritten({layout.rows, shape.heads * shape.head_width}),
                unwritten({shape.heads, layout.rows}), unwritten({layout.rows, row_width(shape)})};
  attention(qkv, shape, layout, result.out, result.logsumexp);
  attention_backward(dout, qkv, result.out, result.logsumexp, shape, layout, result.dqkv);
  return result;
}

struct Case {
  AttentionShape shape;
  int64_t rows;
  std::vector<base::Slice> documents;
};

class Attention : public ::testing::TestWithParam<Case> {
 protected:
  const AttentionShape shape = GetParam().shape;
  const PackedLayout layout = PackedLayout::make(GetParam().rows, GetParam().documents);
  const at::Tensor qkv = normal({layout.rows, row_width(shape)}, 1, 1.5);
  const at::Tensor dout = normal({layout.rows, shape.heads* shape.head_width}, 2);
  const Result result = run(qkv, dout, shape, layout);

  // Rows that belong to no document.
  std::vector<int64_t> padding() const {
    std::vector<int64_t> rows;
    size_t document = 0;
    for (int64_t row = 0; row < layout.rows; ++row) {
      while (document < layout.documents.size() && layout.documents[document].end <= row) {
        ++document;
      }
      if (document == layout.documents.size() || row < layout.documents[document].begin) {
        rows.push_back(row);
      }
    }
    return rows;
  }
};

TEST_P(Attention, EqualsItsReference) {
  at::Tensor out = unwritten(result.out.sizes().vec());
  at::Tensor logsumexp = unwritten(result.logsumexp.sizes().vec());
  at::Tensor dqkv = unwritten(result.dqkv.sizes().vec());
  reference::attention(qkv, shape, layout, out, logsumexp);
  reference::attention_backward(dout, qkv, out, logsumexp, shape, layout, dqkv);
  EXPECT_LT(relative_error(result.out, out), 2e-6);
  for (const base::Slice& document : layout.documents) {
    EXPECT_LT(relative_error(result.logsumexp.slice(1, document.begin, document.end),
                             logsumexp.slice(1, document.begin, document.end)),
              1e-6);
  }
  EXPECT_LT(relative_error(result.dqkv, dqkv), 3e-6);
}

TEST_P(Attention, EqualsAutogradDocumentByDocument) {
  const auto [h, k, c] = shape;
  for (const base::Slice& document : layout.documents) {
    const int64_t length = document.size();
    at::Tensor leaf = qkv.slice(0, document.begin, document.end).to(at::kDouble).requires_grad_();
    const at::Tensor heads = leaf.view({length, h + 2 * k, c}).transpose(0, 1).unsqueeze(0);
    const at::Tensor mixed = at::scaled_dot_product_attention(
        heads.narrow(1, 0, h), heads.narrow(1, h, k).repeat_interleave(h / k, 1),
        heads.narrow(1, h + k, k).repeat_interleave(h / k, 1), {}, 0.0, true);
    const at::Tensor expected = mixed.squeeze(0).transpose(0, 1).reshape({length, h * c});
    expected.backward(dout.slice(0, document.begin, document.end).to(at::kDouble));
    EXPECT_LT(relative_error(result.out.slice(0, document.begin, document.end), expected.detach()),
              2e-6);
    EXPECT_LT(relative_error(result.dqkv.slice(0, document.begin, document.end), leaf.grad()),
              5e-6);
  }
}

TEST_P(Attention, IsZeroOnPadding) {
  for (const int64_t row : padding()) {
    EXPECT_TRUE(same_bits(result.out[row], at::zeros_like(result.out[row])));
    EXPECT_TRUE(same_bits(result.dqkv[row], at::zeros_like(result.dqkv[row])));
  }
}

TEST_P(Attention, TakesNothingFromPadding) {
  at::Tensor spoilt = qkv.clone(), spoilt_dout = dout.clone();
  for (const int64_t row : padding()) {
    spoilt[row].fill_(NAN);
    spoilt_dout[row].fill_(NAN);
  }
  const Result other = run(spoilt, spoilt_dout, shape, layout);
  EXPECT_TRUE(same_bits(other.out, result.out));
  EXPECT_TRUE(same_bits(other.dqkv, result.dqkv));
}

TEST_P(Attention, OfADocumentIsTheSameWhereverItLies) {
  for (const base::Slice& document : layout.documents) {
    const PackedLayout alone = PackedLayout::make(document.size(), {{0, document.size()}});
    const Result other =
        run(qkv.slice(0, document.begin, document.end).contiguous(),
            dout.slice(0, document.begin, document.end).contiguous(), shape, alone);
    EXPECT_TRUE(same_bits(other.out, result.out.slice(0, document.begin, document.end)));
    EXPECT_TRUE(same_bits(other.dqkv, result.dqkv.slice(0, document.begin, document.end)));
  }
}

TEST_P(Attention, DoesNotDependOnThreads) {
  const auto again = [&] { return run(qkv, dout, shape, layout).flat(); };
  EXPECT_TRUE(same_bits(again(), result.flat()));
  EXPECT_TRUE(same_bits(test::with_threads(3, again), result.flat()));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    ::testing::Values(Case{{1, 1, 8}, 1, {{0, 1}}}, Case{{2, 1, 8}, 5, {{0, 2}, {2, 3}, {3, 5}}},
                      Case{{3, 3, 20}, 40, {{0, 17}, {17, 33}, {34, 39}}},
                      Case{{4, 2, 64}, 180, {{1, 171}, {171, 172}}},
                      Case{{6, 2, 80}, 70, {{0, 7}, {7, 55}, {60, 70}}},
                      Case{{2, 1, 128}, 100, {{0, 49}, {50, 100}}}, Case{{1, 1, 2}, 9, {{0, 9}}},
                      Case{{4, 1, 5}, 30, {{2, 29}}}, Case{{2, 2, 16}, 700, {{0, 650}}},
                      Case{{4, 1, 32}, 1100, {{30, 1100}}}));

TEST(AttentionValues, HugeScoresGiveNeitherInfinityNorNan) {
  const AttentionShape shape{2, 1, 16};
  const PackedLayout layout = PackedLayout::make(50, {{0, 50}});
  const at::Tensor qkv = normal({50, row_width(shape)}, 1, 100.0);
  const Result result = run(qkv, normal({50, 32}, 2), shape, layout);
  EXPECT_TRUE(at::isfinite(result.flat()).all().item<bool>());
}

TEST(AttentionValues, NonFiniteInputReachesItsOwnDocumentAlone) {
  const AttentionShape shape{2, 1, 16};
  const PackedLayout layout = PackedLayout::make(50, {{0, 20}, {20, 50}});
  for (const float bad : {NAN, INFINITY}) {
    at::Tensor qkv = normal({50, row_width(shape)}, 1);
    qkv[5].fill_(bad);
    const Result result = run(qkv, normal({50, 32}, 2), shape, layout);
    EXPECT_FALSE(at::isfinite(result.out[5]).any().item<bool>());
    EXPECT_FALSE(at::isfinite(result.out[19]).any().item<bool>());
    EXPECT_TRUE(at::isfinite(result.out.slice(0, 20, 50)).all().item<bool>());
    EXPECT_TRUE(at::isfinite(result.dqkv.slice(0, 20, 50)).all().item<bool>());
  }
}

TEST(AttentionValues, WithoutDocumentsEverythingIsZero) {
  const AttentionShape shape{2, 1, 16};
  const PackedLayout layout = PackedLayout::make(5, {});
  const Result result = run(normal({5, 64}, 1), normal({5, 32}, 2), shape, layout);
  EXPECT_TRUE(same_bits(result.out, at::zeros({5, 32})));
  EXPECT_TRUE(same_bits(result.dqkv, at::zeros({5, 64})));
}

}  // namespace
}  // namespace rondo::kernels

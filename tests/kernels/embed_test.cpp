#include <gtest/gtest.h>

#include "kernels/numbers.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;

class Embed : public ::testing::TestWithParam<int64_t> {
 protected:
  static constexpr int64_t kRows = 203;
  static constexpr int64_t kVocabulary = 17;
  const int64_t d = GetParam();
  const at::Tensor table = normal({kVocabulary, d}, 1);
  const at::Tensor tokens = test::whole(kRows, kVocabulary, 2, at::kInt);
  const at::Tensor dout = normal({kRows, d}, 3);
};

TEST_P(Embed, CopiesTheRowsOfTheTable) {
  at::Tensor out = test::unwritten({kRows, d});
  embed(table, tokens, out);
  EXPECT_TRUE(same_bits(out, table.index_select(0, tokens.to(at::kLong))));
}

TEST_P(Embed, BackwardAddsTheRowsOfEachToken) {
  at::Tensor dtable = normal({kVocabulary, d}, 4);
  at::Tensor expected = dtable.clone();
  embed_backward(dout, tokens, dtable);
  reference::embed_backward(dout, tokens, expected);
  EXPECT_LT(relative_error(dtable, expected), 1e-6);
}

// Slices of the table, one of them empty, make the whole.
TEST_P(Embed, SlicesAddUpToTheWholeTable) {
  at::Tensor out = at::zeros({kRows, d});
  const at::Tensor dtable = at::zeros({kVocabulary, d});
  at::Tensor whole = at::zeros({kVocabulary, d});
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 6}, {6, 0}, {6, 11}}) {
    at::Tensor part = test::unwritten({kRows, d});
    embed(table.narrow(0, first, count), tokens, part, first);
    out.add_(part);
    at::Tensor dslice = dtable.narrow(0, first, count);
    embed_backward(dout, tokens, dslice, first);
  }
  EXPECT_TRUE(same_bits(out, table.index_select(0, tokens.to(at::kLong))));
  embed_backward(dout, tokens, whole);
  EXPECT_TRUE(same_bits(dtable, whole));
}

TEST_P(Embed, BackwardDoesNotDependOnThreads) {
  const auto run = [&] {
    at::Tensor dtable = at::zeros({kVocabulary, d});
    embed_backward(dout, tokens, dtable);
    return dtable;
  };
  const at::Tensor alone = run();
  EXPECT_TRUE(same_bits(test::with_threads(3, run), alone));
}

INSTANTIATE_TEST_SUITE_P(Widths, Embed, ::testing::Values(1, 7, 64, 200));

}  // namespace
}  // namespace rondo::kernels

#include "generate/decode_attention.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "generate/cache.hpp"
#include "kernels/numbers.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::generate {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;
using test::unwritten;

struct Case {
  int64_t heads, kv_heads, head_width;
};

class DecodeAttention : public ::testing::TestWithParam<Case> {
 protected:
  DecodeAttention() {
    const Case& it = GetParam();
    shape.heads = it.heads;
    shape.kv_heads = it.kv_heads;
    shape.head_width = it.head_width;
    shape.layers = 1;
  }
  int64_t row_width() const { return shape.qkv_width(); }
  kernels::AttentionShape attention() const {
    return {shape.heads, shape.kv_heads, shape.head_width};
  }
  model::Shape shape;
};

TEST_P(DecodeAttention, EqualsTheLastRowOfTheWholeSequence) {
  const std::vector<int64_t> lengths = {1, 7, 0, 8, 33, 100};
  const auto slots = static_cast<int64_t>(lengths.size());
  Cache cache(shape, slots, 100);
  at::Tensor queries = unwritten({slots + 2, row_width()});
  at::Tensor expected = at::zeros({slots + 2, shape.q_width()});
  for (int64_t slot = 0; slot < slots; ++slot) {
    const int64_t length = lengths[static_cast<size_t>(slot)];
    if (length == 0) continue;
    const at::Tensor qkv = normal({length, row_width()}, static_cast<uint64_t>(slot) + 1, 1.5);
    cache.store(0, slot, 0, qkv, 0, length);
    queries[slot].copy_(qkv[length - 1]);
    at::Tensor out = unwritten({length, shape.q_width()});
    at::Tensor logsumexp = unwritten({shape.heads, length});
    kernels::reference::attention(
        qkv, attention(), kernels::PackedLayout::make(length, {{0, length}}), out, logsumexp);
    expected[slot].copy_(out[length - 1]);
  }
  at::Tensor out = unwritten({slots + 2, shape.q_width()});
  decode_attention(queries, attention(), cache.keys(0), cache.values(0), lengths, out);
  EXPECT_LT(relative_error(out, expected), 2e-6);
  EXPECT_TRUE(same_bits(out[2], at::zeros_like(out[2])));
  EXPECT_TRUE(same_bits(out.slice(0, slots), at::zeros_like(out.slice(0, slots))));
}

TEST_P(DecodeAttention, StoresRowsOneByOneAsAllAtOnce) {
  const at::Tensor qkv = normal({9, row_width()}, 3);
  Cache whole(shape, 2, 10);
  Cache single(shape, 2, 10);
  whole.store(0, 1, 1, qkv, 0, 9);
  for (int64_t row = 0; row < 9; ++row) single.store(0, 1, 1 + row, qkv, row, 1);
  const auto stored = [](const at::Tensor& cached) { return cached[1].slice(1, 1, 10).clone(); };
  EXPECT_TRUE(same_bits(stored(whole.keys(0)), stored(single.keys(0))));
  EXPECT_TRUE(same_bits(stored(whole.values(0)), stored(single.values(0))));
  const at::Tensor keys = qkv.slice(1, shape.q_width(), shape.q_width() + shape.kv_width());
  EXPECT_TRUE(
      same_bits(stored(whole.keys(0)),
                keys.reshape({9, shape.kv_heads, shape.head_width}).transpose(0, 1).contiguous()));
}

TEST_P(DecodeAttention, DoesNotDependOnSlotNeighboursOrThreads) {
  const at::Tensor qkv = normal({20, row_width()}, 3);
  const auto result = [&](int64_t slots, int64_t slot, int64_t max_length) {
    Cache cache(shape, slots, max_length);
    at::Tensor queries = normal({slots, row_width()}, 9);
    for (int64_t other = 0; other < slots; ++other) {
      cache.store(0, other, 0, normal({20, row_width()}, 11), 0, 20);
    }
    cache.store(0, slot, 0, qkv, 0, 20);
    queries[slot].copy_(qkv[19]);
    at::Tensor out = unwritten({slots, shape.q_width()});
    const std::vector<int64_t> lengths(static_cast<size_t>(slots), 20);
    decode_attention(queries, attention(), cache.keys(0), cache.values(0), lengths, out);
    return out[slot].clone();
  };
  const at::Tensor alone = result(1, 0, 20);
  EXPECT_TRUE(same_bits(result(5, 3, 31), alone));
  EXPECT_TRUE(same_bits(test::with_threads(3, [&] { return result(5, 0, 20); }), alone));
}

INSTANTIATE_TEST_SUITE_P(Shapes, DecodeAttention,
                         ::testing::Values(Case{1, 1, 8}, Case{4, 2, 64}, Case{6, 2, 20},
                                           Case{4, 1, 12}, Case{3, 3, 2}));

}  // namespace
}  // namespace rondo::generate

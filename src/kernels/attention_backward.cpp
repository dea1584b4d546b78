// With P = e^(S - logsumexp), S the scaled scores: dV = P^T dO, dP = dO V^T,
// dS = P (dP - rowsum(dO O)), dQ = scale dS K, dK = scale dS^T Q (Dao 2022, section B.2).
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

#include "kernels/attention_heads.hpp"
#include "kernels/attention_tiles.hpp"
#include "kernels/buffers.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"

namespace rondo::kernels {
namespace {

float dot(const float* a, const float* b, int64_t n) {
  Float8 sum = Float8::zero();
  by_eights(n, [&](int64_t i, auto lanes) {
    sum = fma(Float8::load(a + i, lanes), Float8::load(b + i, lanes), sum);
  });
  return sum_of_lanes(sum);
}

// scores becomes P and dweights becomes dS on the first n elements; zero on the following kPanel.
void differentiate_row(float* scores, float* dweights, int64_t n, float logsumexp, float pull) {
  const Float8 shift = Float8::all(logsumexp);
  const Float8 offset = Float8::all(pull);
  for (int64_t i = 0; i < n; i += 8) {
    const Float8 weight = exp(Float8::load(scores + i) - shift);
    weight.store(scores + i);
    (weight * (Float8::load(dweights + i) - offset)).store(dweights + i);
  }
  for (float* row : {scores, dweights}) {
    Float8::zero().store(row + n);
    Float8::zero().store(row + n + 8);
  }
}

class Backward {
 public:
  Backward(const AttentionHeads& heads, const PackedLayout& layout, const float* dout,
           const float* qkv, const float* out, const float* logsumexp, float* dqkv)
      : heads_(heads),
        layout_(layout),
        dout_(dout),
        qkv_(qkv),
        out_(out),
        logsumexp_(logsumexp),
        dqkv_(dqkv),
        width_(heads.shape.head_width),
        padded_(base::round_up(width_, kPanel)),
        document_floats_(base::round_up(layout.longest, kPanel) * padded_),
        scratch_(5 * Scratch::padded(document_floats_) +
                 3 * Scratch::padded(kQueryBlock * padded_) +
                 2 * Scratch::padded(kQueryBlock * kScoreStride)),
        key_panels_(scratch_.take(document_floats_)),
        value_panels_(scratch_.take(document_floats_)),
        keys_(scratch_.take(document_floats_)),
        dkeys_(scratch_.take(document_floats_)),
        dvalues_(scratch_.take(document_floats_)),
        queries_(scratch_.take(kQueryBlock * padded_)),
        dqueries_(scratch_.take(kQueryBlock * padded_)),
        dmixed_(scratch_.take(kQueryBlock * padded_)),
        scores_(scratch_.take(kQueryBlock * kScoreStride)),
        dscores_(scratch_.take(kQueryBlock * kScoreStride)) {}

  void run(base::Slice document, int64_t kv_head) {
    const int64_t stride = heads_.qkv_row();
    const int64_t length = document.size();
    const float* keys = qkv_ + heads_.key(document.begin, kv_head);
    pack_panels(keys, stride, length, width_, key_panels_);
    pack_panels(qkv_ + heads_.value(document.begin, kv_head), stride, length, width_,
                value_panels_);
    pack_rows(keys, stride, length, width_, 1.0F, keys_, padded_);
    std::fill_n(dkeys_, length * padded_, 0.0F);
    std::fill_n(dvalues_, length * padded_, 0.0F);
    for (int64_t i = 0; i < heads_.group(); ++i) {
      for (int64_t begin = 0; begin < length; begin += kQueryBlock) {
        run_block(document.begin, {begin, std::min(length, begin + kQueryBlock)},
                  kv_head * heads_.group() + i);
      }
    }
    unpack_rows(dkeys_, padded_, length, width_, 1.0F, dqkv_ + heads_.key(document.begin, kv_head),
                stride);
    unpack_rows(dvalues_, padded_, length, width_, 1.0F,
                dqkv_ + heads_.value(document.begin, kv_head), stride);
  }

 private:
  // Queries [begin, end) counted from the document's first row.
  void run_block(int64_t document_begin, base::Slice queries, int64_t head) {
    const int64_t first = document_begin + queries.begin;
    const float scale = heads_.scale();
    // dK = dS^T (scale Q): scaled queries serve the scores and this product.
    pack_rows(qkv_ + heads_.query(first, head), heads_.qkv_row(), queries.size(), width_, scale,
              queries_, padded_);
    pack_rows(dout_ + heads_.out(first, head), heads_.out_row(), queries.size(), width_, 1.0F,
              dmixed_, padded_);
    for (int64_t row = 0; row < queries.size(); ++row) {
      pull_[row] = dot(dmixed_ + row * padded_, out_ + heads_.out(first + row, head), width_);
    }
    const float* logsumexp = logsumexp_ + head * layout_.rows + first;
    for (int64_t begin = 0; begin < queries.end; begin += kKeyBlock) {
      const base::Slice keys{begin, std::min(queries.end, begin + kKeyBlock)};
      multiply_scores(queries_, width_, padded_, queries, key_panels_, keys, scores_);
      multiply_scores(dmixed_, width_, padded_, queries, value_panels_, keys, dscores_);
      for (int64_t row = 0; row < queries.size(); ++row) {
        const int64_t seen = std::min(keys.end, queries.begin + row + 1) - keys.begin;
        differentiate_row(scores_ + row * kScoreStride, dscores_ + row * kScoreStride,
                          std::max<int64_t>(0, seen), logsumexp[row], pull_[row]);
      }
      mix_rows_transposed(scores_, queries, dmixed_, keys, padded_, dvalues_);
      mix_rows_transposed(dscores_, queries, queries_, keys, padded_, dkeys_);
      mix_rows(dscores_, queries, keys_, keys, padded_, dqueries_);
    }
    unpack_rows(dqueries_, padded_, queries.size(), width_, scale,
                dqkv_ + heads_.query(first, head), heads_.qkv_row());
  }

  const AttentionHeads& heads_;
  const PackedLayout& layout_;
  const float* dout_;
  const float* qkv_;
  const float* out_;
  const float* logsumexp_;
  float* dqkv_;
  int64_t width_;
  int64_t padded_;
  int64_t document_floats_;
  Scratch scratch_;
  float* key_panels_;
  float* value_panels_;
  float* keys_;
  float* dkeys_;
  float* dvalues_;
  float* queries_;
  float* dqueries_;
  float* dmixed_;
  float* scores_;
  float* dscores_;
  float pull_[kQueryBlock] = {};
};

// As the public function, on the CPU in float32.
void differentiate(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                   const at::Tensor& logsumexp, const AttentionHeads& heads,
                   const PackedLayout& layout, const at::Tensor& dqkv) {
  const float* from_dout = input<float>(dout);
  const float* from_qkv = input<float>(qkv);
  const float* from_out = input<float>(out);
  const float* from_logsumexp = input<float>(logsumexp);
  float* to = output(dqkv);
  for_padding(layout, [&](base::Slice rows) {
    std::fill(to + heads.query(rows.begin, 0), to + heads.query(rows.end, 0), 0.0F);
  });
  at::parallel_for(0, heads.tasks(layout), 1, [&](int64_t begin, int64_t end) {
    Backward backward(heads, layout, from_dout, from_qkv, from_out, from_logsumexp, to);
    for (int64_t task = begin; task < end; ++task) {
      backward.run(layout.documents[static_cast<size_t>(task / heads.shape.kv_heads)],
                   task % heads.shape.kv_heads);
    }
  });
}

}  // namespace

void attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                        const at::Tensor& logsumexp, const AttentionShape& shape,
                        const PackedLayout& layout, at::Tensor& dqkv) {
  const AttentionHeads heads{shape};
  heads.check(layout, qkv, out, logsumexp);
  heads.check(layout, dqkv, dout, logsumexp);
  if (device::serves(qkv)) {
    return device::attention_backward(dout, qkv, out, logsumexp, shape, layout, dqkv);
  }
  if (qkv.scalar_type() == at::kFloat) {
    return differentiate(dout, qkv, out, logsumexp, heads, layout, dqkv);
  }
  const at::Tensor exact = at::empty_like(dqkv, at::kFloat);
  differentiate(dout.to(at::kFloat), qkv.to(at::kFloat), out.to(at::kFloat), logsumexp, heads,
                layout, exact);
  dqkv.copy_(exact);
}

}  // namespace rondo::kernels

// Blocks of queries against blocks of keys with the running maximum and sum of Milakov and
// Gimelshein 2018 ("online softmax"); a document of at most kKeyBlock tokens needs no rescaling.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

#include <cmath>
#include <cstring>

#include "kernels/attention_heads.hpp"
#include "kernels/attention_tiles.hpp"
#include "kernels/buffers.hpp"
#include "kernels/device.hpp"
#include "kernels/kernels.hpp"

namespace rondo::kernels {
namespace {

// row = e^(row - most) on its first n elements, zero on the following kPanel; returns the sum.
float exponentials(float* row, int64_t n, float most) {
  const Float8 shift = Float8::all(most);
  Float8 sum = Float8::zero();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Float8 value = exp(Float8::load(row + i) - shift);
    value.store(row + i);
    sum = sum + value;
  }
  float total = sum_of_lanes(sum);
  if (i < n) {
    exp(Float8::load(row + i) - shift).store(row + i);
    for (; i < n; ++i) total += row[i];
  }
  Float8::zero().store(row + n);
  Float8::zero().store(row + n + 8);
  return total;
}

class Forward {
 public:
  Forward(const AttentionHeads& heads, const PackedLayout& layout, const float* qkv, float* out,
          float* logsumexp)
      : heads_(heads),
        layout_(layout),
        qkv_(qkv),
        out_(out),
        logsumexp_(logsumexp),
        width_(heads.shape.head_width),
        padded_(base::round_up(width_, kPanel)),
        scratch_(2 * Scratch::padded(base::round_up(layout.longest, kPanel) * padded_) +
                 2 * Scratch::padded(kQueryBlock * padded_) +
                 Scratch::padded(kQueryBlock * kScoreStride)),
        key_panels_(scratch_.take(base::round_up(layout.longest, kPanel) * padded_)),
        values_(scratch_.take(base::round_up(layout.longest, kPanel) * padded_)),
        queries_(scratch_.take(kQueryBlock * padded_)),
        mixed_(scratch_.take(kQueryBlock * padded_)),
        scores_(scratch_.take(kQueryBlock * kScoreStride)) {}

  void run(base::Slice document, int64_t kv_head) {
    const int64_t stride = heads_.qkv_row();
    pack_panels(qkv_ + heads_.key(document.begin, kv_head), stride, document.size(), width_,
                key_panels_);
    pack_rows(qkv_ + heads_.value(document.begin, kv_head), stride, document.size(), width_, 1.0F,
              values_, padded_);
    for (int64_t i = 0; i < heads_.group(); ++i) {
      for (int64_t begin = 0; begin < document.size(); begin += kQueryBlock) {
        run_block(document.begin, {begin, std::min(document.size(), begin + kQueryBlock)},
                  kv_head * heads_.group() + i);
      }
    }
  }

 private:
  // Queries [begin, end) counted from the document's first row.
  void run_block(int64_t document_begin, base::Slice queries, int64_t head) {
    pack_rows(qkv_ + heads_.query(document_begin + queries.begin, head), heads_.qkv_row(),
              queries.size(), width_, heads_.scale(), queries_, padded_);
    for (int64_t begin = 0; begin < queries.end; begin += kKeyBlock) {
      const base::Slice keys{begin, std::min(queries.end, begin + kKeyBlock)};
      multiply_scores(queries_, width_, padded_, queries, key_panels_, keys, scores_);
      for (int64_t row = 0; row < queries.size(); ++row) {
        const int64_t seen = std::min(keys.end, queries.begin + row + 1) - keys.begin;
        take_scores(row, seen, keys.begin == 0);
      }
      mix_rows(scores_, queries, values_, keys, padded_, mixed_);
    }
    for (int64_t row = 0; row < queries.size(); ++row) {
      const int64_t at = document_begin + queries.begin + row;
      logsumexp_[head * layout_.rows + at] = most_[row] + std::log(sum_[row]);
      unpack_rows(mixed_ + row * padded_, padded_, 1, width_, 1.0F / sum_[row],
                  out_ + heads_.out(at, head), width_);
    }
  }

  // Turns a row's scores into weights and brings the row's maximum, sum and mix up to date.
  void take_scores(int64_t row, int64_t seen, bool first) {
    float* scores = scores_ + row * kScoreStride;
    if (seen <= 0) {
      for (int64_t i = 0; i < kPanel; ++i) scores[i] = 0.0F;
      return;
    }
    const float most = largest(scores, seen);
    if (first) {
      most_[row] = most;
      sum_[row] = exponentials(scores, seen, most);
      return;
    }
    const float raised = most > most_[row] ? most : most_[row];
    const float kept = std::exp(most_[row] - raised);
    sum_[row] = sum_[row] * kept + exponentials(scores, seen, raised);
    most_[row] = raised;
    float* mixed = mixed_ + row * padded_;
    for (int64_t i = 0; i < padded_; ++i) mixed[i] *= kept;
  }

  const AttentionHeads& heads_;
  const PackedLayout& layout_;
  const float* qkv_;
  float* out_;
  float* logsumexp_;
  int64_t width_;
  int64_t padded_;
  Scratch scratch_;
  float* key_panels_;
  float* values_;
  float* queries_;
  float* mixed_;
  float* scores_;
  float most_[kQueryBlock] = {};
  float sum_[kQueryBlock] = {};
};

// As the public function, on the CPU in float32.
void attend(const at::Tensor& qkv, const AttentionHeads& heads, const PackedLayout& layout,
            at::Tensor& out, at::Tensor& logsumexp) {
  const float* from = input<float>(qkv);
  float* to = output(out);
  float* total = output(logsumexp);
  for_padding(layout, [&](base::Slice rows) {
    std::fill(to + heads.out(rows.begin, 0), to + heads.out(rows.end, 0), 0.0F);
    for (int64_t head = 0; head < heads.shape.heads; ++head) {
      float* of_head = total + head * layout.rows;
      std::fill(of_head + rows.begin, of_head + rows.end, 0.0F);
    }
  });
  at::parallel_for(0, heads.tasks(layout), 1, [&](int64_t begin, int64_t end) {
    Forward forward(heads, layout, from, to, total);
    for (int64_t task = begin; task < end; ++task) {
      forward.run(layout.documents[static_cast<size_t>(task / heads.shape.kv_heads)],
                  task % heads.shape.kv_heads);
    }
  });
}

}  // namespace

void attention(const at::Tensor& qkv, const AttentionShape& shape, const PackedLayout& layout,
               at::Tensor& out, at::Tensor& logsumexp) {
  const AttentionHeads heads{shape};
  heads.check(layout, qkv, out, logsumexp);
  if (device::serves(qkv)) return device::attention(qkv, shape, layout, out, logsumexp);
  if (qkv.scalar_type() == at::kFloat) return attend(qkv, heads, layout, out, logsumexp);
  at::Tensor exact = at::empty_like(out, at::kFloat);
  attend(qkv.to(at::kFloat), heads, layout, exact, logsumexp);
  out.copy_(exact);
}

}  // namespace rondo::kernels

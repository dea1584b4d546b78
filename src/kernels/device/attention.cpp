// Flash attention of ATen over the packed documents (Dao 2023, "FlashAttention-2") for bfloat16;
// what it cannot do (float32, heads that are no multiple of 8 wide) goes document by document
// through whole matrices of scores.
#include <ATen/ATen.h>

#include <limits>

#include "kernels/attention_heads.hpp"
#include "kernels/device.hpp"

namespace rondo::kernels::device {
namespace {

bool is_for_flash(const at::Tensor& qkv, const AttentionShape& shape) {
  return qkv.is_cuda() && qkv.scalar_type() == at::kBFloat16 && shape.head_width % 8 == 0 &&
         shape.head_width <= 256;
}

// Views of queries, keys and values: [t, heads or kv_heads, c].
struct Parts {
  at::Tensor q, k, v;
};
Parts parts_of(const at::Tensor& qkv, const AttentionHeads& heads) {
  const auto& [h, k, c] = heads.shape;
  const at::Tensor all = qkv.view({-1, h + 2 * k, c});
  return {all.narrow(1, 0, h), all.narrow(1, h, k), all.narrow(1, h + k, k)};
}

void flash(const Parts& parts, const AttentionHeads& heads, const PackedLayout& layout,
           at::Tensor& out, at::Tensor& logsumexp) {
  const auto result = at::_flash_attention_forward(
      parts.q, parts.k, parts.v, layout.boundaries, layout.boundaries, layout.longest_stretch,
      layout.longest_stretch, /*dropout_p=*/0, /*is_causal=*/true, /*return_debug_mask=*/false,
      static_cast<double>(heads.scale()));
  out.copy_(std::get<0>(result).view_as(out));
  logsumexp.copy_(std::get<1>(result).view_as(logsumexp));
}

void flash_backward(const at::Tensor& dout, const Parts& parts, const at::Tensor& out,
                    const at::Tensor& logsumexp, const AttentionHeads& heads,
                    const PackedLayout& layout, const Parts& gradients) {
  const at::Tensor no_dropout = at::empty({2}, dout.options().dtype(at::kUInt64));
  const auto result = at::_flash_attention_backward(
      dout.view_as(parts.q), parts.q, parts.k, parts.v, out.view_as(parts.q),
      logsumexp.view({heads.shape.heads, -1}), layout.boundaries, layout.boundaries,
      layout.longest_stretch, layout.longest_stretch, /*dropout_p=*/0, /*is_causal=*/true,
      no_dropout, no_dropout, static_cast<double>(heads.scale()));
  gradients.q.copy_(std::get<0>(result));
  gradients.k.copy_(std::get<1>(result));
  gradients.v.copy_(std::get<2>(result));
}

// One document's [length, heads, c] as float32 [kv_heads, heads / kv_heads, length, c].
at::Tensor by_group(const at::Tensor& part, base::Slice rows, int64_t kv_heads) {
  const at::Tensor document = part.narrow(0, rows.begin, rows.size());
  return document.to(at::kFloat)
      .view({rows.size(), kv_heads, -1, part.size(2)})
      .permute({1, 2, 0, 3})
      .contiguous();
}
// Back to [length, heads, c].
at::Tensor by_row(const at::Tensor& grouped) { return grouped.permute({2, 0, 1, 3}).flatten(1, 2); }

// Scaled causal scores [kv_heads, group, length, length].
at::Tensor scores_of(const at::Tensor& q, const at::Tensor& k, float scale) {
  const int64_t length = q.size(2);
  const at::Tensor later = at::ones({length, length}, q.options().dtype(at::kBool)).triu(1);
  return at::matmul(q, k.transpose(2, 3))
      .mul_(scale)
      .masked_fill_(later, -std::numeric_limits<double>::infinity());
}

}  // namespace

void attention(const at::Tensor& qkv, const AttentionShape& shape, const PackedLayout& layout,
               at::Tensor& out, at::Tensor& logsumexp) {
  const AttentionHeads heads{shape};
  const Parts parts = parts_of(qkv, heads);
  if (is_for_flash(qkv, shape)) return flash(parts, heads, layout, out, logsumexp);
  out.zero_();
  logsumexp.zero_();
  const at::Tensor to = out.view({-1, shape.heads, shape.head_width});
  const at::Tensor totals = logsumexp.view({shape.kv_heads, -1, layout.rows});
  for (const base::Slice& document : layout.documents) {
    const at::Tensor q = by_group(parts.q, document, shape.kv_heads);
    const at::Tensor k = by_group(parts.k, document, shape.kv_heads);
    const at::Tensor v = by_group(parts.v, document, shape.kv_heads);
    const at::Tensor scores = scores_of(q, k, heads.scale());
    const at::Tensor total = at::logsumexp(scores, -1);
    totals.narrow(2, document.begin, document.size()).copy_(total);
    const at::Tensor mixed = at::matmul((scores - total.unsqueeze(-1)).exp_(), v);
    to.narrow(0, document.begin, document.size()).copy_(by_row(mixed));
  }
}

// The formulas of kernels/attention_backward.cpp.
void attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                        const at::Tensor& logsumexp, const AttentionShape& shape,
                        const PackedLayout& layout, at::Tensor& dqkv) {
  const AttentionHeads heads{shape};
  const Parts parts = parts_of(qkv, heads);
  const Parts gradients = parts_of(dqkv, heads);
  if (is_for_flash(qkv, shape)) {
    return flash_backward(dout, parts, out, logsumexp, heads, layout, gradients);
  }
  dqkv.zero_();
  const at::Tensor dout_thc = dout.view({-1, shape.heads, shape.head_width});
  const at::Tensor out_thc = out.view_as(dout_thc);
  const at::Tensor totals = logsumexp.view({shape.kv_heads, -1, layout.rows});
  for (const base::Slice& document : layout.documents) {
    const at::Tensor q = by_group(parts.q, document, shape.kv_heads);
    const at::Tensor k = by_group(parts.k, document, shape.kv_heads);
    const at::Tensor v = by_group(parts.v, document, shape.kv_heads);
    const at::Tensor mixed = by_group(out_thc, document, shape.kv_heads);
    const at::Tensor dmixed = by_group(dout_thc, document, shape.kv_heads);
    const at::Tensor total = totals.narrow(2, document.begin, document.size()).unsqueeze(-1);
    const at::Tensor weights = (scores_of(q, k, heads.scale()) - total).exp_();
    const at::Tensor pull = (dmixed * mixed).sum(-1, /*keepdim=*/true);
    const at::Tensor dscores =
        (weights * (at::matmul(dmixed, v.transpose(2, 3)) - pull)).mul_(heads.scale());
    // Keys and values serve all queries of their group.
    const at::Tensor dk = at::matmul(dscores.transpose(2, 3), q).sum(1, /*keepdim=*/true);
    const at::Tensor dv = at::matmul(weights.transpose(2, 3), dmixed).sum(1, /*keepdim=*/true);
    const auto put = [&](const at::Tensor& gradient, const at::Tensor& values) {
      gradient.narrow(0, document.begin, document.size()).copy_(by_row(values));
    };
    put(gradients.q, at::matmul(dscores, k));
    put(gradients.k, dk);
    put(gradients.v, dv);
  }
}

}  // namespace rondo::kernels::device

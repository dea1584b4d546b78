// Fused operations of the transformer step. Each has a plain reference in kernels/reference.hpp
// that its test compares it with.
//
// Activations and weights are of one type, float32 or bfloat16, and lie all on the CPU or all on
// one CUDA device, where the work is queued on the current stream. What is computed inside is
// float32; what is stored is rounded once. Statistics (rstd, logsumexp), losses, gradients of
// parameters and all of AdamW's are float32.
//
// Legend of shape letters: t rows (tokens of the flattened batch), d hidden, f feed-forward width,
// h query heads, k key/value heads, c head width, v vocabulary.
// Outputs named `out` are written completely; gradients of parameters are added to.
// All tensors are contiguous unless a row stride is mentioned. Nothing here allocates per row.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "kernels/packed_layout.hpp"

namespace rondo::kernels {

// RMSNorm (Zhang and Sennrich 2019): y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps).
// x_td [t,d], weight [d] -> out_td [t,d], rstd_t [t]. Also used per head with [t*h, c].
void rms_norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
              at::Tensor& rstd_t);
// The norm's output again, to the bit, from the rstd_t it gave.
void rms_norm_again(const at::Tensor& x_td, const at::Tensor& weight_d, const at::Tensor& rstd_t,
                    at::Tensor& out_td);
// sum_td = x_td + residual_td (sum_td may be x_td or residual_td), then the norm of the sum.
void add_rms_norm(const at::Tensor& x_td, const at::Tensor& residual_td, const at::Tensor& weight_d,
                  double eps, at::Tensor& sum_td, at::Tensor& out_td, at::Tensor& rstd_t);
// dx_td += gradient through the norm when `accumulate` (the residual stream's gradient is already
// in dx_td), else dx_td = it. dweight_d += its gradient.
void rms_norm_backward(const at::Tensor& dout_td, const at::Tensor& x_td,
                       const at::Tensor& weight_d, const at::Tensor& rstd_t, bool accumulate,
                       at::Tensor& dx_td, at::Tensor& dweight_d);

// Rotary position embedding in place on the first `heads` heads of each row, halves layout (as in
// Hugging Face's Llama: pairs are (i, i + c/2)). x has `row_stride` floats per row and heads of
// width c end to end from its data pointer. cos, sin: [positions, c/2]. `inverse` rotates back,
// which is the backward.
void rope(at::Tensor& x, int64_t row_stride, int64_t heads, int64_t head_width,
          const at::Tensor& positions_t, const at::Tensor& cos, const at::Tensor& sin,
          bool inverse);

// SwiGLU: out_tf = silu(gate) * up, with gate_up_t2f [t, 2f] holding gate | up in each row.
void swiglu(const at::Tensor& gate_up_t2f, at::Tensor& out_tf);
// In place: gate_up_t2f becomes its own gradient.
void swiglu_backward(const at::Tensor& dout_tf, at::Tensor& gate_up_t2f);

// Causal attention inside each document, grouped key/value heads, scale 1/sqrt(c).
// qkv [t, (h + 2k) * c]: query heads, key heads, value heads end to end in each row.
// out [t, h * c] (zero on padding rows, on a GPU anything finite, of which nothing comes),
// logsumexp [h, t] saved for the backward.
struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_width = 0;
};
void attention(const at::Tensor& qkv, const AttentionShape& shape, const PackedLayout& layout,
               at::Tensor& out, at::Tensor& logsumexp);
// dqkv [t, (h + 2k) * c], written completely (zero on padding rows).
void attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                        const at::Tensor& logsumexp, const AttentionShape& shape,
                        const PackedLayout& layout, at::Tensor& dqkv);

// Head and cross-entropy in chunks of rows, over rows with weight alone.
// For each i in 0..rows.numel()-1 with row r = rows[i]: loss_i = ce(x[r] @ head^T, labels[i]).
struct HeadLoss {
  double weighted_loss = 0;  // sum of weight_i * loss_i
  double weight = 0;         // sum of weight_i
  int64_t correct = 0;       // rows whose label has the largest logit (ties: lowest id wins)
};
// Of each of the n rows, float32 [n] where they are computed.
struct RowLosses {
  at::Tensor losses_n;
  at::Tensor correct_n;  // 1 where the label has the largest logit, else 0
};
// HeadLoss as it comes from a device: read() waits for it.
class LossSums {
 public:
  LossSums() = default;
  explicit LossSums(const HeadLoss& known) : known_(known) {}
  // float64 [3]: the fields of HeadLoss.
  explicit LossSums(at::Tensor on_device) : on_device_(std::move(on_device)) {}
  HeadLoss read() const;

 private:
  HeadLoss known_;
  at::Tensor on_device_;
};
// HeadOptions::chunk_rows for a GPU, whose products want more rows.
inline constexpr int64_t kDeviceChunkRows = 2048;
// A head whose vocabulary is divided over several callers has a slice of its rows here; the others
// call with the same rows and labels.
struct HeadOptions {
  int64_t chunk_rows = 512;  // at most this many rows of logits exist at a time
  int64_t first_id = 0;      // that head_vd's first row belongs to
  // In place, over all slices: the largest of float32 [n], then the sums of float64 [3, n]. Empty:
  // this is the whole head.
  std::function<void(const at::Tensor&)> all_max = {};
  std::function<void(const at::Tensor&)> all_sum = {};
  std::function<void()> poll = {};  // as MatmulOptions::poll
};
// x_td [t,d] (after the final norm), head_vd [v,d], rows int64 [n], labels int64 [n], weights
// float32 [n]. When `dx_td` is given: *dx_td is written completely (zero where no weight) with the
// gradient of scale * weighted_loss (of a slice: its share, to be summed over slices), and dhead_vd
// is added to; both must be given or neither. `each`, when given, is written completely.
LossSums head_loss(const at::Tensor& x_td, const at::Tensor& head_vd, const at::Tensor& rows,
                   const at::Tensor& labels, const at::Tensor& weights, double scale,
                   at::Tensor* dx_td, at::Tensor* dhead_vd, RowLosses* each,
                   const HeadOptions& options = {});

// Embedding: out_td[t] = table_vd[tokens[t] - first_id], zero for tokens outside of this slice of
// the table; tokens int32 [t], range-checked by the caller. The backward takes them on the CPU.
void embed(const at::Tensor& table_vd, const at::Tensor& tokens_t, at::Tensor& out_td,
           int64_t first_id = 0);
void embed_backward(const at::Tensor& dout_td, const at::Tensor& tokens_t, at::Tensor& dtable_vd,
                    int64_t first_id = 0);

// AdamW (Loshchilov and Hutter 2019), PyTorch's order of operations, over flat float32 buffers of
// equal length: m, v, weights updated in place from grads * grad_scale. m and v may both be
// bfloat16: the weights are updated from the exact new ones, which are then rounded stochastically
// (kernels/cuda/noise.hpp).
struct AdamStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;  // counted from 1, for the bias correction
  double grad_scale = 1;
  // Of that rounding: random numbers are those of noise_key, element i has number first + i.
  uint64_t noise_key = 0;
  int64_t first = 0;
};
void adamw(const AdamStep& step, const at::Tensor& grads, at::Tensor& weights, at::Tensor& m,
           at::Tensor& v);
// Sum of squares in float64, ordered, of a flat float32 tensor on the CPU.
double squared_norm(const at::Tensor& flat);
// The same of tensors of one device: float64 [n] there.
at::Tensor squared_norms(std::span<const at::Tensor> flat);

}  // namespace rondo::kernels

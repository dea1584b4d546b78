// The plain twin of every function of kernels/kernels.hpp: the same arguments and results, one loop
// per sum, float64 inside, no blocking, no threads. Called by tests and benchmarks alone.
#pragma once

#include "kernels/kernels.hpp"

namespace rondo::kernels::reference {

void rms_norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
              at::Tensor& rstd_t);
void add_rms_norm(const at::Tensor& x_td, const at::Tensor& residual_td, const at::Tensor& weight_d,
                  double eps, at::Tensor& sum_td, at::Tensor& out_td, at::Tensor& rstd_t);
void rms_norm_backward(const at::Tensor& dout_td, const at::Tensor& x_td,
                       const at::Tensor& weight_d, const at::Tensor& rstd_t, bool accumulate,
                       at::Tensor& dx_td, at::Tensor& dweight_d);

void rope(at::Tensor& x, int64_t row_stride, int64_t heads, int64_t head_width,
          const at::Tensor& positions_t, const at::Tensor& cos, const at::Tensor& sin,
          bool inverse);

void swiglu(const at::Tensor& gate_up_t2f, at::Tensor& out_tf);
void swiglu_backward(const at::Tensor& dout_tf, at::Tensor& gate_up_t2f);

void attention(const at::Tensor& qkv, const AttentionShape& shape, const PackedLayout& layout,
               at::Tensor& out, at::Tensor& logsumexp);
void attention_backward(const at::Tensor& dout, const at::Tensor& qkv, const at::Tensor& out,
                        const at::Tensor& logsumexp, const AttentionShape& shape,
                        const PackedLayout& layout, at::Tensor& dqkv);

HeadLoss head_loss(const at::Tensor& x_td, const at::Tensor& head_vd, const at::Tensor& rows,
                   const at::Tensor& labels, const at::Tensor& weights, double scale,
                   at::Tensor* dx_td, at::Tensor* dhead_vd, RowLosses* each);

void embed(const at::Tensor& table_vd, const at::Tensor& tokens_t, at::Tensor& out_td,
           int64_t first_id = 0);
void embed_backward(const at::Tensor& dout_td, const at::Tensor& tokens_t, at::Tensor& dtable_vd,
                    int64_t first_id = 0);

void adamw(const AdamStep& step, const at::Tensor& grads, at::Tensor& weights, at::Tensor& m,
           at::Tensor& v);
double squared_norm(const at::Tensor& flat);

}  // namespace rondo::kernels::reference

// The operations of kernels/kernels.hpp where they run on a CUDA device, with the same arguments:
// from tensors to the raw pointers of kernels/cuda. A build has either device/*.cpp or
// no_device.cpp, which serves no tensor.
//
// Internal to kernels/: the public functions check sizes and come here.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "kernels/kernels.hpp"

namespace rondo::kernels::device {

// Whether what is asked of this tensor is done here.
bool serves(const at::Tensor& tensor);

void rms_norm(const at::Tensor& x_td, const at::Tensor& weight_d, double eps, at::Tensor& out_td,
              at::Tensor& rstd_t);
void rms_norm_again(const at::Tensor& x_td, const at::Tensor& weight_d, const at::Tensor& rstd_t,
                    at::Tensor& out_td);
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
LossSums head_loss(const at::Tensor& x_td, const at::Tensor& head_vd, const at::Tensor& rows,
                   const at::Tensor& labels, const at::Tensor& weights, double scale,
                   at::Tensor* dx_td, at::Tensor* dhead_vd, RowLosses* each,
                   const HeadOptions& options);
void embed(const at::Tensor& table_vd, const at::Tensor& tokens_t, at::Tensor& out_td,
           int64_t first_id);
void embed_backward(const at::Tensor& dout_td, const at::Tensor& tokens_t, at::Tensor& dtable_vd,
                    int64_t first_id);
void adamw(const AdamStep& step, const at::Tensor& grads, at::Tensor& weights, at::Tensor& m,
           at::Tensor& v);
at::Tensor squared_norms(std::span<const at::Tensor> flat);

// out (+)= a b, a and b possibly transposed views.
void matmul(const at::Tensor& a, const at::Tensor& b, at::Tensor& out, bool accumulate);

}  // namespace rondo::kernels::device

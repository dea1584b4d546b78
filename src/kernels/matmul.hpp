// Matrix products of the linear layers: out = a b^T (forward), a b (gradient of the
// input) and a^T b (gradient of the weight).
//
// Of float32 or bfloat16, added up in float32; on a CUDA device by cuBLAS, on the CPU by one of
// two ways (bfloat16 by way of float32): rondo's own blocks (kernels/matmul_blocks.hpp) and ATen.
// Own results are the same to the last bit for any number of threads, and a row of out does not
// depend on how many other rows there are; of ATen neither is known. NaN and infinity go their way
// in both.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace rondo::kernels {

enum class MatmulWay {
  kOwn,      // tiles of AVX2, or of what the compiler makes of them
  kOwnWide,  // tiles of AVX-512: the same bits as kOwn
  kAten,
};

// Whether this build and this processor can go that way.
bool has_matmul_way(MatmulWay way);

// An own way where it is known to be the fastest: on AMD's (or Hygon's) processors since Zen 1. For
// them MKL, which ATen uses, does not take its best path: on Zen 5 it never uses AVX-512, and the
// own way is 2.2 times as fast. On Intel's processors it is ATen.
MatmulWay matmul_way();

struct MatmulOptions {
  bool accumulate = false;  // out += the product instead of out = the product
  MatmulWay way = matmul_way();
  // Called by the calling thread after the product, and in the own way about every 3 ms of it. It
  // must not multiply matrices; what it throws leaves out half written.
  std::function<void()> poll = {};
};

// All tensors are matrices on one device whose rows are contiguous (stride(1) = 1; rows may be
// further apart than they are long, as those of a narrow() are). a and b are of one type; out is
// float32, or bfloat16 as they are where it is not accumulated to. out must not overlap a or b.
// Empty sizes are allowed: a product over nothing is zero. A Bug when sizes do not fit.

// out [m,n] = a [m,k] b [n,k]^T. The forward: y_tn = x_tk w_nk^T.
void matmul_nt(const at::Tensor& a, const at::Tensor& b, at::Tensor& out,
               const MatmulOptions& options = {});
// out [m,n] = a [m,k] b [k,n]. The gradient of the input: dx_tk = dy_tn w_nk.
void matmul_nn(const at::Tensor& a, const at::Tensor& b, at::Tensor& out,
               const MatmulOptions& options = {});
// out [m,n] = a [k,m]^T b [k,n]. The gradient of the weight: dw_nk += dy_tn^T x_tk.
void matmul_tn(const at::Tensor& a, const at::Tensor& b, at::Tensor& out,
               const MatmulOptions& options = {});

}  // namespace rondo::kernels

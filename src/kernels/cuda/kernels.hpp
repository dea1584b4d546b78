// The operations of kernels/kernels.hpp on GPUs, over raw device pointers: no torch, so that nvcc
// compiles them in seconds. T is float or Bf16; sums inside are float32 in an order that depends on
// the shapes alone, so the same input gives the same bits on every GPU. Gradients of parameters are
// float32 and added to.
//
// Each queues its work on `stream` and returns. Pointers may have any alignment of T; where all of
// them and the row length are multiples of 16 bytes, accesses are as wide.
#pragma once

#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace rondo::kernels::cuda {

// As kernels::rms_norm: x [rows, d], weight [d] -> out [rows, d], rstd [rows].
template <class T>
void rms_norm(const T* x, const T* weight, double eps, T* out, float* rstd, int64_t rows, int64_t d,
              Stream stream);
// As kernels::rms_norm_again: rstd is read.
template <class T>
void rms_norm_again(const T* x, const T* weight, const float* rstd, T* out, int64_t rows, int64_t d,
                    Stream stream);
// The sum is rounded to T first; sum may be x or residual. Both null: the norm of x.
template <class T>
void add_rms_norm(const T* x, const T* residual, const T* weight, double eps, T* sum, T* out,
                  float* rstd, int64_t rows, int64_t d, Stream stream);
// Floats of the workspace of rms_norm_backward; d of at most 12288.
int64_t rms_norm_workspace(int64_t d);
template <class T>
void rms_norm_backward(const T* dout, const T* x, const T* weight, const float* rstd,
                       bool accumulate, T* dx, float* dweight, float* workspace, int64_t rows,
                       int64_t d, Stream stream);

// As kernels::rope, in place: x [rows] of `row_stride` values, heads of width c from its beginning;
// positions [rows], cos and sin [positions, c / 2].
template <class T>
void rope(T* x, int64_t row_stride, int64_t heads, int64_t head_width, const int32_t* positions,
          const float* cos, const float* sin, bool inverse, int64_t rows, Stream stream);

// As kernels::swiglu: gate_up [rows, 2f] -> out [rows, f]; backward in place.
template <class T>
void swiglu(const T* gate_up, T* out, int64_t rows, int64_t f, Stream stream);
template <class T>
void swiglu_backward(const T* dout, T* gate_up, int64_t rows, int64_t f, Stream stream);

// As kernels::embed: tokens [rows]; table [ids, d] begins with the row of `first_id`.
template <class T>
void embed(const T* table, const int32_t* tokens, T* out, int64_t first_id, int64_t ids,
           int64_t rows, int64_t d, Stream stream);
// Rows of dout that go to one row of the table follow one another in `order`: those of group g are
// order[begins[g]] .. order[begins[g + 1] - 1], and go to table row ids[g]. They are added up in
// this order, without atomics.
template <class T>
void embed_backward(const T* dout, const int32_t* order, const int32_t* begins, const int32_t* ids,
                    int64_t groups, float* dtable, int64_t d, Stream stream);

// Cross-entropy of a chunk of logits [rows, v], those of ids from `first_id` on: a slice of the
// vocabulary, or all of it. labels [rows] are ids; v below 2^31. In this order:
//   look_at_logits      one pass over the logits
//   (the largest over all slices: `most`; with one slice, slice.largest)
//   scale_slice         -> sums [3, rows], to be added up over all slices
//   finish_losses       -> losses and correct (1 or 0: the label has the largest logit, ties: the
//                       lowest id) [rows]
//   cross_entropy_gradient, in place: factor * weight * (softmax - one at the label)
// Everything lies on the device.
struct SliceRows {
  float* largest;    // [rows], as are all
  double* sum;       // of e^(logit - largest)
  double* of_label;  // its logit; 0 where another slice has the label
  float* beaten;     // 1: an id before the label, or instead of it, has the slice's largest logit
};
template <class T>
void look_at_logits(const T* logits, const int64_t* labels, int64_t first_id, int64_t rows,
                    int64_t v, const SliceRows& out, Stream stream);
void scale_slice(const SliceRows& slice, const float* most, int64_t rows, double* sums,
                 Stream stream);
void finish_losses(const float* most, const double* sums, int64_t rows, float* losses,
                   float* correct, Stream stream);
template <class T>
void cross_entropy_gradient(T* logits, const int64_t* labels, int64_t first_id, int64_t rows,
                            int64_t v, const float* most, const double* sums, const float* weights,
                            double factor, Stream stream);

// As kernels::adamw over `count` elements, to the bit: grads * *grad_scale, which lies on the
// device; weights float32, m and v of M, float or Bf16. `rounded`, where not null, gets the new
// weights as bf16.
struct AdamW {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;
  uint64_t noise_key = 0;
  int64_t first = 0;
};
template <class M>
void adamw(const AdamW& step, const float* grads, const float* grad_scale, float* weights, M* m,
           M* v, Bf16* rounded, int64_t count, Stream stream);

// *result = kernels::squared_norm of `count` values, to the bit; both it and the workspace of
// squared_norm_workspace(count) doubles lie on the device.
int64_t squared_norm_workspace(int64_t count);
void squared_norm(const float* values, int64_t count, double* workspace, double* result,
                  Stream stream);

}  // namespace rondo::kernels::cuda

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/cuda/kernels.hpp"
#include "kernels/device.hpp"
#include "kernels/device/pointers.hpp"
#include "kernels/matmul.hpp"

namespace rondo::kernels::device {
namespace {

// What a chunk needs beside its logits.
struct Chunk {
  explicit Chunk(int64_t rows, const at::TensorOptions& floats)
      : largest(at::empty({rows}, floats)),
        beaten(at::empty_like(largest)),
        most(at::empty_like(largest)),
        losses(at::empty_like(largest)),
        correct(at::empty_like(largest)),
        sum(at::empty({rows}, floats.dtype(at::kDouble))),
        of_label(at::empty_like(sum)),
        sums(at::empty({3, rows}, floats.dtype(at::kDouble))) {}

  at::Tensor largest, beaten, most, losses, correct, sum, of_label, sums;
};

// Losses, and whether the label has the largest logit, of a chunk of logits [rows, v].
template <class T>
void look_at(const at::Tensor& logits, const at::Tensor& labels, const HeadOptions& options,
             Chunk& chunk) {
  const int64_t rows = logits.size(0);
  const cuda::Stream stream = stream_of(logits);
  const cuda::SliceRows slice = {.largest = out<float>(chunk.largest),
                                 .sum = out<double>(chunk.sum),
                                 .of_label = out<double>(chunk.of_label),
                                 .beaten = out<float>(chunk.beaten)};
  cuda::look_at_logits<T>(in<T>(logits), in<int64_t>(labels), options.first_id, rows,
                          logits.size(1), slice, stream);
  chunk.most.copy_(chunk.largest);
  if (options.all_max) options.all_max(chunk.most);
  cuda::scale_slice(slice, in<float>(chunk.most), rows, out<double>(chunk.sums), stream);
  if (options.all_sum) options.all_sum(chunk.sums);
  cuda::finish_losses(in<float>(chunk.most), in<double>(chunk.sums), rows, out<float>(chunk.losses),
                      out<float>(chunk.correct), stream);
}

}  // namespace

LossSums head_loss(const at::Tensor& x_td, const at::Tensor& head_vd, const at::Tensor& rows,
                   const at::Tensor& labels, const at::Tensor& weights, double scale,
                   at::Tensor* dx_td, at::Tensor* dhead_vd, RowLosses* each,
                   const HeadOptions& options) {
  const int64_t n = rows.numel();
  const int64_t v = head_vd.size(0);
  const int64_t most_rows = std::min(options.chunk_rows, n);
  const at::Tensor logits_cv = at::empty({most_rows, v}, x_td.options());
  const at::Tensor gathered_cd = at::empty({most_rows, x_td.size(1)}, x_td.options());
  const at::Tensor sums = at::zeros({3}, weights.options().dtype(at::kDouble));
  for (int64_t begin = 0; begin < n; begin += most_rows) {
    const int64_t size = std::min(most_rows, n - begin);
    const at::Tensor rows_c = rows.narrow(0, begin, size);
    const at::Tensor labels_c = labels.narrow(0, begin, size);
    const at::Tensor weights_c = weights.narrow(0, begin, size);
    at::Tensor logits = logits_cv.narrow(0, 0, size);
    at::Tensor gathered = gathered_cd.narrow(0, 0, size);
    at::index_select_out(gathered, x_td, 0, rows_c);
    matmul_nt(gathered, head_vd, logits, {.poll = options.poll});
    Chunk chunk(size, weights.options());
    by_element(logits, [&](auto t) { look_at<decltype(t)>(logits, labels_c, options, chunk); });
    const at::Tensor weight = weights_c.to(at::kDouble);
    sums[0].add_((chunk.losses.to(at::kDouble) * weight).sum());
    sums[1].add_(weight.sum());
    sums[2].add_(chunk.correct.sum());
    if (each != nullptr) {
      each->losses_n.narrow(0, begin, size).copy_(chunk.losses);
      each->correct_n.narrow(0, begin, size).copy_(chunk.correct);
    }
    if (dx_td == nullptr) continue;
    by_element(logits, [&](auto t) {
      using T = decltype(t);
      cuda::cross_entropy_gradient<T>(out<T>(logits), in<int64_t>(labels_c), options.first_id, size,
                                      v, in<float>(chunk.most), in<double>(chunk.sums),
                                      in<float>(weights_c), scale, stream_of(logits));
    });
    matmul_tn(logits, gathered, *dhead_vd, {.accumulate = true, .poll = options.poll});
    // The gathered rows have served: their memory takes the gradient of the same rows.
    matmul_nn(logits, head_vd, gathered, {.poll = options.poll});
    dx_td->index_copy_(0, rows_c, gathered);
  }
  return LossSums(sums);
}

}  // namespace rondo::kernels::device

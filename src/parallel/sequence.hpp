// Sequence parallelism (Korthikanti et al. 2022): between attention and MLP each rank of the tensor
// axis holds the rows [rank * s, (rank + 1) * s) of the t = size * s rows of a micro-batch; inside,
// it holds all rows of its slice of the heads or of the feed-forward width.
//
// With one rank both are the same tensor, and nothing is copied. Sums of bfloat16 are added up in
// float32 and rounded once, in one order: every rank sends each other one its rows, the bytes of a
// ring.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>

#include <utility>

#include "comm/group.hpp"

namespace rondo::parallel {

// Rows on their way.
class Rows {
 public:
  Rows(at::Tensor result, comm::Work work, at::Tensor parts = {})
      : result_(std::move(result)), work_(std::move(work)), parts_(std::move(parts)) {}
  // To be called once.
  at::Tensor wait() {
    work_.wait();
    if (parts_.defined()) result_.copy_(parts_.sum(0, /*keepdim=*/false, at::kFloat));
    return result_;
  }

 private:
  at::Tensor result_;
  comm::Work work_;
  at::Tensor parts_;  // [size, s, d], still to be added up; or undefined
};

// Each is collective over the tensor group.
// The rows of all ranks [t, d], in `buffer_td` (unused, and may be undefined, with one rank).
inline Rows gather_rows(comm::Group& tensor, const at::Tensor& rows_sd,
                        const at::Tensor& buffer_td) {
  const at::Tensor out = tensor.size() == 1 ? rows_sd : buffer_td;
  return {out, tensor.all_gather(out, rows_sd, comm::Purpose::kActivations)};
}
// This rank's rows [s, d] of the sum of all ranks' partial_td, in `buffer_sd`.
inline Rows scatter_rows(comm::Group& tensor, const at::Tensor& partial_td,
                         const at::Tensor& buffer_sd) {
  const at::Tensor out = tensor.size() == 1 ? partial_td : buffer_sd;
  if (tensor.size() > 1 && partial_td.scalar_type() == at::kBFloat16) {
    const at::Tensor parts = at::empty_like(partial_td).view({tensor.size(), -1, out.size(1)});
    return {out, tensor.all_to_all(parts, partial_td, comm::Purpose::kActivations), parts};
  }
  return {out, tensor.sum_scatter(out, partial_td, comm::Purpose::kActivations)};
}

}  // namespace rondo::parallel

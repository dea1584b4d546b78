#include "parallel/optimizer.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/kernels.hpp"

namespace rondo::parallel {

std::vector<double> owned_squared_norms(const Unit& unit) {
  const FlatLayout& layout = unit.layout();
  const int64_t parts = layout.parts();
  const int64_t owned_parts = parts / unit.mesh().shard().size();
  const int64_t first = unit.mesh().shard().rank() * owned_parts;
  std::vector<double> entries(static_cast<size_t>(parts), 0.0);
  for (const OwnedSegment& segment : layout.segments()) {
    const int64_t part_size = layout.buckets()[segment.bucket].size() / parts;
    const int copies = layout.local(segment.parameter).copies;
    const at::Tensor grads = unit.owned_grads(segment);
    for (int64_t done = 0; done < grads.numel();) {
      const int64_t at = segment.bucket_offset + done;
      const int64_t size = std::min(grads.numel() - done, part_size - at % part_size);
      const int64_t entry = first + at / part_size;
      entries[static_cast<size_t>(entry)] +=
          kernels::squared_norm(grads.narrow(0, done, size)) / copies;
      done += size;
    }
  }
  return entries;
}

double sum_of_squares(const std::vector<double>& entries, Mesh& mesh) {
  const at::Tensor all = at::tensor(entries, at::kDouble);
  mesh.shard().all_sum(all, comm::Purpose::kMetrics).wait();
  double sum = 0;
  const double* data = all.const_data_ptr<double>();
  for (int64_t i = 0; i < all.numel(); ++i) sum += data[i];
  comm::Group& tensor = mesh.tensor();
  const at::Tensor sums = at::empty({tensor.size()}, at::kDouble);
  tensor.all_gather(sums, at::full({1}, sum, at::kDouble), comm::Purpose::kMetrics).wait();
  double total = 0;
  for (int rank = 0; rank < tensor.size(); ++rank) total += sums.const_data_ptr<double>()[rank];
  return total;
}

void update_owned(Unit& unit, const AdamWSettings& settings, int64_t step, double grad_scale) {
  for (const OwnedSegment& segment : unit.layout().segments()) {
    const Parameter& parameter = unit.parameters()[segment.parameter];
    const int64_t size = segment.local.size();
    at::Tensor weights = unit.owned_weights(segment);
    at::Tensor exp_avg = unit.exp_avg().narrow(0, segment.shard_offset, size);
    at::Tensor exp_avg_sq = unit.exp_avg_sq().narrow(0, segment.shard_offset, size);
    kernels::adamw({.lr = settings.lr,
                    .beta1 = settings.beta1,
                    .beta2 = settings.beta2,
                    .eps = settings.eps,
                    .weight_decay = parameter.decay ? settings.weight_decay : 0,
                    .step = step,
                    .grad_scale = grad_scale},
                   unit.owned_grads(segment), weights, exp_avg, exp_avg_sq);
  }
  unit.mark_changed();
}

}  // namespace rondo::parallel

#include "parallel/optimizer.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/hash.hpp"
#include "kernels/kernels.hpp"

namespace rondo::parallel {

OwnedSquaredNorms::OwnedSquaredNorms(const Unit& unit) : parts_(unit.layout().parts()) {
  const FlatLayout& layout = unit.layout();
  const int64_t owned_parts = parts_ / unit.mesh().shard().size();
  const int64_t first = unit.mesh().shard().rank() * owned_parts;
  std::vector<at::Tensor> flat;
  for (const OwnedSegment& segment : layout.segments()) {
    const int64_t part_size = layout.buckets()[segment.bucket].size() / parts_;
    const at::Tensor grads = unit.owned_grads(segment);
    for (int64_t done = 0; done < grads.numel();) {
      const int64_t at = segment.bucket_offset + done;
      const int64_t size = std::min(grads.numel() - done, part_size - at % part_size);
      pieces_.push_back({.entry = static_cast<size_t>(first + at / part_size),
                         .copies = layout.local(segment.parameter).copies});
      flat.push_back(grads.narrow(0, done, size));
      done += size;
    }
  }
  sums_ = kernels::squared_norms(flat);
}

std::vector<double> OwnedSquaredNorms::entries() const {
  std::vector<double> entries(static_cast<size_t>(parts_), 0.0);
  const at::Tensor sums = sums_.cpu();
  for (size_t i = 0; i < pieces_.size(); ++i) {
    entries[pieces_[i].entry] += sums.const_data_ptr<double>()[i] / pieces_[i].copies;
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
                    .grad_scale = grad_scale,
                    .noise_key = base::hash64(parameter.name, static_cast<uint64_t>(step)),
                    .first = segment.local.begin},
                   unit.owned_grads(segment), weights, exp_avg, exp_avg_sq);
  }
  unit.mark_changed();
}

}  // namespace rondo::parallel

#include "parallel/owned_on_host.hpp"

#include <ATen/ATen.h>

namespace rondo::parallel {

OwnedOnHost::OwnedOnHost(const Unit& unit, bool moments) : unit_(unit) {
  const bool copied = !unit.settings().device.is_cpu();
  const auto pinned = at::TensorOptions(at::kFloat).pinned_memory(true);
  if (copied) weights_ = at::empty({unit.layout().shard_numel()}, pinned);
  if (!moments) return;
  exp_avg_ = copied ? at::empty_like(weights_, pinned) : unit.exp_avg();
  exp_avg_sq_ = copied ? at::empty_like(weights_, pinned) : unit.exp_avg_sq();
}

float* OwnedOnHost::weights(const OwnedSegment& segment) const {
  if (copied()) return moment(weights_, segment);
  return unit_.owned_weights(segment).mutable_data_ptr<float>();
}

float* OwnedOnHost::moment(const at::Tensor& moments, const OwnedSegment& segment) {
  return moments.mutable_data_ptr<float>() + segment.shard_offset;
}

// Calls copy(host, there) for every tensor that has a copy.
template <class Copy>
void OwnedOnHost::for_each_tensor(const Copy& copy) {
  if (!copied()) return;
  for (size_t b = 0; b < unit_.layout().buckets().size(); ++b) {
    const at::Tensor there = unit_.owned_weights(b);
    copy(weights_.narrow(0, unit_.layout().shard_offset(b), there.numel()), there);
  }
  if (!exp_avg_.defined()) return;
  copy(exp_avg_, unit_.exp_avg());
  copy(exp_avg_sq_, unit_.exp_avg_sq());
}

void OwnedOnHost::read() {
  for_each_tensor([](const at::Tensor& host, const at::Tensor& there) { host.copy_(there); });
}

void OwnedOnHost::write() {
  for_each_tensor([](const at::Tensor& host, const at::Tensor& there) { there.copy_(host); });
}

}  // namespace rondo::parallel

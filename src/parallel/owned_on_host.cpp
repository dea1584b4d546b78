#include "parallel/owned_on_host.hpp"

#include <ATen/ATen.h>

namespace rondo::parallel {

namespace {

bool is_here(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat;
}

}  // namespace

OwnedOnHost::OwnedOnHost(const Unit& unit, bool moments) : unit_(unit) {
  const StateSettings& settings = unit.settings();
  // Zero, as what no parameter is has to stay when write() brings all of it back.
  const auto copy = [&] {
    const auto pinned = at::TensorOptions(at::kFloat).pinned_memory(!settings.device.is_cpu());
    return at::zeros({unit.layout().shard_numel()}, pinned);
  };
  if (!settings.device.is_cpu()) weights_ = copy();
  if (!moments) return;
  exp_avg_ = is_here(unit.exp_avg()) ? unit.exp_avg() : copy();
  exp_avg_sq_ = is_here(unit.exp_avg_sq()) ? unit.exp_avg_sq() : copy();
}

float* OwnedOnHost::weights(const OwnedSegment& segment) const {
  if (weights_.defined()) return at(weights_, segment);
  return unit_.owned_weights(segment).mutable_data_ptr<float>();
}

float* OwnedOnHost::at(const at::Tensor& shard, const OwnedSegment& segment) {
  return shard.mutable_data_ptr<float>() + segment.shard_offset;
}

// Calls copy(host, there) for everything that is a copy.
template <class Copy>
void OwnedOnHost::for_each_copy(const Copy& copy) {
  const FlatLayout& layout = unit_.layout();
  for (size_t b = 0; weights_.defined() && b < layout.buckets().size(); ++b) {
    const at::Tensor there = unit_.owned_weights(b);
    copy(weights_.narrow(0, layout.shard_offset(b), there.numel()), there);
  }
  if (!exp_avg_.defined() || is_here(unit_.exp_avg())) return;
  copy(exp_avg_, unit_.exp_avg());
  copy(exp_avg_sq_, unit_.exp_avg_sq());
}

void OwnedOnHost::read() {
  for_each_copy([](const at::Tensor& host, const at::Tensor& there) { host.copy_(there); });
}

void OwnedOnHost::write() {
  for_each_copy([](const at::Tensor& host, const at::Tensor& there) { there.copy_(host); });
}

}  // namespace rondo::parallel

#include "parallel/unit.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/random.hpp"

namespace rondo::parallel {

namespace {

constexpr int64_t kParameterAlignment = 128;  // elements: 512 bytes
constexpr int64_t kPartAlignment = 128;       // elements of one rank's part of a bucket
// Open MPI over shared memory is fastest at 1-4 MiB per call.
constexpr int64_t kBucketElements = (int64_t{4} << 20) / 4;

// The slice of a parameter's gradient and weight in the flat buffers, in the parameter's shape.
at::Tensor view_of(const at::Tensor& flat, int64_t offset, const std::vector<int64_t>& shape,
                   int64_t numel) {
  return flat.narrow(0, offset, numel).view(shape);
}

}  // namespace

int64_t Parameter::numel() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

Unit::Unit(std::string name, std::vector<Parameter> parameters, comm::Group& group,
           bool with_optimizer)
    : name_(std::move(name)),
      parameters_(std::move(parameters)),
      group_(group),
      with_optimizer_(with_optimizer) {
  RONDO_CHECK(!parameters_.empty());
  int64_t end = 0;
  for (const Parameter& parameter : parameters_) {
    if (!parameter.joined) end = base::round_up(end, kParameterAlignment);
    offsets_.push_back(end);
    end += parameter.numel();
  }
  const int64_t quantum = group_.size() * kPartAlignment;
  const int64_t total = base::round_up(end, quantum);
  const int64_t bucket = base::round_up(kBucketElements, quantum);
  for (int64_t begin = 0; begin < total; begin += bucket) {
    buckets_.push_back({begin, std::min(begin + bucket, total)});
  }
  const auto options = at::TensorOptions().dtype(at::kFloat);
  weights_ = at::zeros({total}, options);
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const base::Slice owned = owned_range(b);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const base::Slice whole{offsets_[i], offsets_[i] + parameters_[i].numel()};
      const base::Slice mine = base::intersect(owned, whole);
      if (mine.empty()) continue;
      segments_.push_back({.parameter = i,
                           .global = {mine.begin - offsets_[i], mine.end - offsets_[i]},
                           .shard_offset = shard_numel_ + mine.begin - owned.begin});
    }
    shard_numel_ += owned.size();
  }
  if (with_optimizer_) {
    grads_ = at::zeros({total}, options);
    exp_avg_ = at::zeros({shard_numel_}, options);
    exp_avg_sq_ = at::zeros({shard_numel_}, options);
  }
}

at::Tensor Unit::weight(size_t i) const {
  return view_of(weights_, offsets_[i], parameters_[i].shape, parameters_[i].numel());
}

at::Tensor Unit::grad(size_t i) const {
  RONDO_CHECK(with_optimizer_, "unit {} was made without gradients", name_);
  return view_of(grads_, offsets_[i], parameters_[i].shape, parameters_[i].numel());
}

namespace {

at::Tensor joined_view(const at::Tensor& flat, const std::vector<Parameter>& parameters,
                       int64_t offset, size_t i, size_t count) {
  int64_t rows = 0;
  std::vector<int64_t> shape = parameters[i].shape;
  for (size_t k = i; k < i + count; ++k) {
    RONDO_CHECK(k == i || parameters[k].joined, "{} is not joined", parameters[k].name);
    rows += parameters[k].shape[0];
  }
  shape[0] = rows;
  int64_t numel = 1;
  for (const int64_t dim : shape) numel *= dim;
  return view_of(flat, offset, shape, numel);
}

}  // namespace

at::Tensor Unit::joined_weight(size_t i, size_t count) const {
  return joined_view(weights_, parameters_, offsets_[i], i, count);
}

at::Tensor Unit::joined_grad(size_t i, size_t count) const {
  RONDO_CHECK(with_optimizer_, "unit {} was made without gradients", name_);
  return joined_view(grads_, parameters_, offsets_[i], i, count);
}

void Unit::initialise(uint64_t seed) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& parameter = parameters_[i];
    at::Tensor values = weight(i);
    if (parameter.init_std == 0) {
      values.fill_(parameter.init_value);
      continue;
    }
    const base::Random random(seed, parameter.name);
    random.normal(0, values.data_ptr<float>(), parameter.numel());
    values.mul_(parameter.init_std);
  }
}

void Unit::zero_grad() { grads_.zero_(); }

base::Slice Unit::owned_range(size_t b) const {
  const base::Slice bucket = buckets_[b];
  const int64_t part = bucket.size() / group_.size();
  const int64_t begin = bucket.begin + group_.rank() * part;
  return {begin, begin + part};
}

base::Slice Unit::flat_range(size_t i, base::Slice global) const {
  return {offsets_[i] + global.begin, offsets_[i] + global.end};
}

void Unit::start_reduce() {
  RONDO_CHECK(reducing_.empty());
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const base::Slice owned = owned_range(b);
    reducing_.push_back(group_.sum_scatter(grads_.narrow(0, owned.begin, owned.size()),
                                           grads_.narrow(0, buckets_[b].begin, buckets_[b].size()),
                                           comm::Purpose::kGradients));
  }
}

void Unit::finish_reduce() {
  for (comm::Work& work : reducing_) work.wait();
  reducing_.clear();
}

void Unit::gather_weights() {
  std::vector<comm::Work> gathering;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const base::Slice owned = owned_range(b);
    gathering.push_back(group_.all_gather(weights_.narrow(0, buckets_[b].begin, buckets_[b].size()),
                                          weights_.narrow(0, owned.begin, owned.size()),
                                          comm::Purpose::kWeights));
  }
  for (comm::Work& work : gathering) work.wait();
}

int64_t Unit::bytes() const {
  int64_t elements = weights_.numel();
  if (with_optimizer_) elements += grads_.numel() + exp_avg_.numel() + exp_avg_sq_.numel();
  return elements * 4;
}

}  // namespace rondo::parallel

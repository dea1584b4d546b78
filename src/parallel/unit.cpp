#include "parallel/unit.hpp"

#include <ATen/ATen.h>

#include <exception>
#include <utility>

#include "base/error.hpp"
#include "base/random.hpp"

namespace rondo::parallel {

namespace {

// Open MPI over shared memory is fastest at 1-4 MiB per call. NCCL takes a unit whole.
constexpr int64_t kMpiBucket = (int64_t{4} << 20) / 4;

BucketSize bucket_size(Mesh& mesh, const StateSettings& settings) {
  const bool nccl = mesh.data().backend() == "nccl";
  return {.elements = nccl ? int64_t{1} << 40 : kMpiBucket,
          .parts = settings.lanes > 0 ? settings.lanes : mesh.data().size()};
}

at::Tensor zeros(int64_t numel) { return at::zeros({numel}, at::kFloat); }

at::Tensor joined_view(const at::Tensor& flat, const FlatLayout& layout, size_t i, size_t count) {
  std::vector<int64_t> shape = layout.local(i).shape;
  int64_t numel = layout.local(i).numel();
  for (size_t k = i + 1; k < i + count; ++k) {
    RONDO_CHECK(layout.parameters()[k].joined, "{} is not joined", layout.parameters()[k].name);
    shape[0] += layout.local(k).shape[0];
    numel += layout.local(k).numel();
  }
  return flat.narrow(0, layout.offset(i), numel).view(shape);
}

}  // namespace

Unit::Unit(std::string name, std::vector<Parameter> parameters, Mesh& mesh,
           const StateSettings& settings, BufferPool& pool)
    : name_(std::move(name)),
      layout_(std::move(parameters), place_in(mesh.tensor()), place_in(mesh.shard()),
              bucket_size(mesh, settings)),
      mesh_(mesh),
      settings_(settings),
      pool_(pool) {
  for (size_t i = 0; i < this->parameters().size(); ++i) {
    const LocalPart& local = layout_.local(i);
    if (local.copies > 1) mesh_.copies(local.parts);
  }
  if (settings_.transient_weights()) {
    weight_shard_ = zeros(layout_.shard_numel());
  } else {
    weights_ = zeros(layout_.numel());
  }
  if (!settings_.training) return;
  if (settings_.transient_grads()) {
    grad_shard_ = zeros(layout_.shard_numel());
  } else {
    grads_ = zeros(layout_.numel());
  }
  exp_avg_ = zeros(layout_.shard_numel());
  exp_avg_sq_ = zeros(layout_.shard_numel());
}

Unit::~Unit() {
  if (std::uncaught_exceptions() > 0) return;
  for (comm::Work& work : gathering_) {
    try {
      work.wait();
    } catch (const base::SystemError&) {
      // A rank that does not come any more; nobody needs these weights.
    }
  }
}

at::Tensor Unit::joined_weight(size_t i, size_t count) const {
  RONDO_CHECK(weights_.defined(), "the weights of unit {} are not here", name_);
  return joined_view(weights_, layout_, i, count);
}

at::Tensor Unit::joined_grad(size_t i, size_t count) const {
  RONDO_CHECK(grads_.defined(), "the gradients of unit {} are not here", name_);
  return joined_view(grads_, layout_, i, count);
}

namespace {

at::Tensor owned_part(const FlatLayout& layout, size_t b, const at::Tensor& shard,
                      const at::Tensor& whole) {
  const base::Slice owned = layout.owned_range(b);
  if (shard.defined()) return shard.narrow(0, layout.shard_offset(b), owned.size());
  return whole.narrow(0, owned.begin, owned.size());
}

}  // namespace

at::Tensor Unit::owned_weights(size_t b) const {
  return owned_part(layout_, b, weight_shard_, weights_);
}

at::Tensor Unit::owned_grads(size_t b) const { return owned_part(layout_, b, grad_shard_, grads_); }

at::Tensor Unit::owned_weights(const OwnedSegment& segment) const {
  return owned_weights(segment.bucket).narrow(0, segment.bucket_offset, segment.local.size());
}

at::Tensor Unit::owned_grads(const OwnedSegment& segment) const {
  return owned_grads(segment.bucket).narrow(0, segment.bucket_offset, segment.local.size());
}

void Unit::initialise(uint64_t seed) {
  end_gather();
  for_each_owned_run(
      *this, [&](size_t i, base::Slice global, const OwnedSegment& segment, int64_t offset) {
        const Parameter& parameter = parameters()[i];
        at::Tensor values = owned_weights(segment).narrow(0, offset, global.size());
        if (parameter.init_std == 0) {
          values.fill_(parameter.init_value);
          return;
        }
        const base::Random random(seed, parameter.name);
        random.normal(static_cast<uint64_t>(global.begin), values.data_ptr<float>(), global.size());
        values.mul_(parameter.init_std);
      });
  mark_changed();
}

void Unit::start_gather() {
  if (!gathering_.empty()) return;
  if (weights_.defined() && !changed_) return;
  if (!weights_.defined()) weights_ = pool_.take(layout_.numel());
  for (size_t b = 0; b < layout_.buckets().size(); ++b) {
    const base::Slice bucket = layout_.buckets()[b];
    gathering_.push_back(mesh_.shard().all_gather(weights_.narrow(0, bucket.begin, bucket.size()),
                                                  owned_weights(b), comm::Purpose::kWeights));
  }
  changed_ = false;
}

void Unit::end_gather() {
  for (comm::Work& work : gathering_) work.wait();
  gathering_.clear();
}

void Unit::finish_gather() {
  start_gather();
  end_gather();
}

void Unit::release() {
  if (!settings_.transient_weights() || !weights_.defined()) return;
  RONDO_CHECK(gathering_.empty(), "unit {} is released while it is gathered", name_);
  pool_.give(std::exchange(weights_, {}));
}

at::Tensor Unit::whole(size_t i) {
  const bool was_here = weights_.defined();
  finish_gather();
  const Parameter& parameter = parameters()[i];
  const LocalPart& local = layout_.local(i);
  at::Tensor result;
  if (local.parts == 1) {
    result = was_here ? weight(i) : weight(i).clone();
  } else {
    comm::Group& tensor = mesh_.tensor();
    const at::Tensor mine = weight(i);
    at::Tensor all = at::empty({tensor.size(), mine.numel()}, at::kFloat);
    tensor.all_gather(all.view({-1}), mine.view({-1}), comm::Purpose::kOther).wait();
    std::vector<at::Tensor> parts;
    const int64_t dim = parameter.split == Split::kRows ? 0 : 1;
    for (int rank = 0; rank < tensor.size(); rank += local.copies) {
      const LocalPart theirs = local_part(parameter, {rank, tensor.size()});
      parts.push_back(all[rank].view(theirs.shape).narrow(dim, 0, theirs.range.size()));
    }
    result = at::cat(parts, dim);
  }
  if (!was_here) release();
  return result;
}

void Unit::reset_moments() {
  exp_avg_.zero_();
  exp_avg_sq_.zero_();
}

void Unit::zero_grads() { (grad_shard_.defined() ? grad_shard_ : grads_).zero_(); }

void Unit::begin_grads() {
  if (grads_.defined()) return;
  grads_ = pool_.take(layout_.numel());
  grads_.zero_();
}

void Unit::end_lane(int64_t lane, int64_t lanes_here) {
  RONDO_CHECK(settings_.lanes > 0 && lane < lanes_here);
  size_t level = 0;
  // A binary counter of complete subtrees: what `lane` completes is added up, earlier lanes first.
  for (int64_t rest = lane; rest % 2 == 1; rest /= 2, ++level) {
    at::Tensor& earlier = lane_sums_.at(level);
    at::add_out(grads_, earlier, grads_);
    pool_.give(std::exchange(earlier, {}));
  }
  if (lane + 1 == lanes_here) return;
  if (lane_sums_.size() <= level) lane_sums_.resize(level + 1);
  lane_sums_[level] = std::exchange(grads_, pool_.take(layout_.numel()));
  grads_.zero_();
}

int64_t Unit::persistent_bytes() const {
  int64_t elements = 0;
  for (const at::Tensor& tensor :
       {weight_shard_.defined() ? weight_shard_ : weights_,
        grad_shard_.defined() ? grad_shard_ : grads_, exp_avg_, exp_avg_sq_}) {
    if (tensor.defined()) elements += tensor.numel();
  }
  return elements * 4;
}

}  // namespace rondo::parallel

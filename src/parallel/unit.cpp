#include "parallel/unit.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/error.hpp"
#include "base/random.hpp"
#include "parallel/owned_on_host.hpp"

namespace rondo::parallel {

namespace {

// Open MPI over shared memory is fastest at 1-4 MiB per call. A device takes a unit whole: few and
// large operations.
constexpr int64_t kMpiBucket = (int64_t{4} << 20) / 4;
// Elements of a rank's part that whole parameters are gathered by.
constexpr int64_t kWholePiece = int64_t{4} << 20;

BucketSize bucket_size(Mesh& mesh, const StateSettings& settings) {
  return {.elements = settings.device.is_cpu() ? kMpiBucket : int64_t{1} << 40,
          .parts = settings.lanes > 0 ? settings.lanes : mesh.data().size()};
}

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
  if (settings_.transient_weights() || settings_.has_master_weights()) {
    weight_shard_ = zeros(layout_.shard_numel());
  }
  if (!settings_.transient_weights()) weights_ = zeros(layout_.numel(), settings_.compute);
  if (!settings_.training) return;
  if (settings_.transient_grads()) {
    grad_shard_ = zeros(layout_.shard_numel());
  } else {
    grads_ = zeros(layout_.numel());
  }
  exp_avg_ = zeros(layout_.shard_numel(), settings_.moments);
  exp_avg_sq_ = zeros(layout_.shard_numel(), settings_.moments);
}

at::Tensor Unit::zeros(int64_t numel, at::ScalarType type) const {
  return at::zeros({numel}, at::TensorOptions(type).device(settings_.device));
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
  OwnedOnHost host(*this, false);
  for_each_owned_run(
      *this, [&](size_t i, base::Slice global, const OwnedSegment& segment, int64_t offset) {
        const Parameter& parameter = parameters()[i];
        const at::Tensor values =
            at::from_blob(host.weights(segment) + offset, {global.size()}, at::kFloat);
        if (parameter.init_std == 0) {
          values.fill_(parameter.init_value);
          return;
        }
        const base::Random random(seed, parameter.name);
        random.normal(static_cast<uint64_t>(global.begin), values.mutable_data_ptr<float>(),
                      global.size());
        values.mul_(parameter.init_std);
      });
  host.write();
  mark_changed();
}

void Unit::start_gather() {
  if (!gathering_.empty()) return;
  if (weights_.defined() && !changed_) return;
  if (!weights_.defined()) weights_ = pool_.take(layout_.numel(), settings_.compute);
  for (size_t b = 0; b < layout_.buckets().size(); ++b) gather_bucket(b);
  changed_ = false;
}

void Unit::gather_bucket(size_t b) {
  const base::Slice bucket = layout_.buckets()[b];
  at::Tensor mine = owned_weights(b);
  if (settings_.has_master_weights()) {
    // Rounded in its place, from where the others take it.
    const base::Slice owned = layout_.owned_range(b);
    mine = weights_.narrow(0, owned.begin, owned.size()).copy_(mine);
  }
  gathering_.push_back(mesh_.shard().all_gather(weights_.narrow(0, bucket.begin, bucket.size()),
                                                mine, comm::Purpose::kWeights));
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

at::Tensor Unit::whole_local(size_t i) {
  if (weights_.defined() && !settings_.has_master_weights()) {
    finish_gather();
    return weight(i);
  }
  end_gather();
  const base::Slice wanted = {layout_.offset(i), layout_.offset(i) + layout_.local(i).numel()};
  at::Tensor result = at::empty({wanted.size()}, zeros(0).options());
  const int64_t ranks = mesh_.shard().size();
  for (size_t b = 0; b < layout_.buckets().size(); ++b) {
    const base::Slice bucket = layout_.buckets()[b];
    const int64_t part = bucket.size() / ranks;
    // A piece of every rank's part at a time: a bucket may be a unit.
    for (int64_t offset = 0; offset < part; offset += kWholePiece) {
      const int64_t size = std::min(kWholePiece, part - offset);
      std::vector<base::Slice> of_rank;  // that are wanted
      bool any = false;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const int64_t begin = bucket.begin + rank * part + offset;
        of_rank.push_back(base::intersect({begin, begin + size}, wanted));
        any = any || !of_rank.back().empty();
      }
      if (!any) continue;
      const at::Tensor all = at::empty({ranks, size}, result.options());
      mesh_.shard()
          .all_gather(all.view({-1}), owned_weights(b).narrow(0, offset, size),
                      comm::Purpose::kWeights)
          .wait();
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const base::Slice& found = of_rank[static_cast<size_t>(rank)];
        if (found.empty()) continue;
        result.narrow(0, found.begin - wanted.begin, found.size())
            .copy_(all[rank].narrow(0, found.begin - (bucket.begin + rank * part + offset),
                                    found.size()));
      }
    }
  }
  return result.view(layout_.local(i).shape);
}

at::Tensor Unit::whole(size_t i) {
  const Parameter& parameter = parameters()[i];
  const LocalPart& local = layout_.local(i);
  const at::Tensor mine = whole_local(i);
  if (local.parts == 1) return mine;
  comm::Group& tensor = mesh_.tensor();
  const at::Tensor all = at::empty({tensor.size(), mine.numel()}, mine.options());
  tensor.all_gather(all.view({-1}), mine.view({-1}), comm::Purpose::kOther).wait();
  std::vector<at::Tensor> parts;
  const int64_t dim = parameter.split == Split::kRows ? 0 : 1;
  for (int rank = 0; rank < tensor.size(); rank += local.copies) {
    const LocalPart theirs = local_part(parameter, {rank, tensor.size()});
    parts.push_back(all[rank].view(theirs.shape).narrow(dim, 0, theirs.range.size()));
  }
  return at::cat(parts, dim);
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
  int64_t bytes = 0;
  const auto add = [&bytes](const at::Tensor& tensor) {
    if (tensor.defined()) bytes += static_cast<int64_t>(tensor.nbytes());
  };
  if (!settings_.transient_weights()) add(weights_);
  add(weight_shard_);
  add(grad_shard_.defined() ? grad_shard_ : grads_);
  add(exp_avg_);
  add(exp_avg_sq_);
  return bytes;
}

}  // namespace rondo::parallel

#include "parallel/reduction.hpp"

#include <ATen/ATen.h>

#include <map>
#include <utility>

#include "base/error.hpp"

namespace rondo::parallel {

void Reduction::start() {
  RONDO_CHECK(state_ == State::kIdle, "unit {} is summed already", unit_.name());
  state_ = State::kScattering;
  const FlatLayout& layout = unit_.layout();
  comm::Group& shard = unit_.mesh_.shard();
  for (size_t b = 0; b < layout.buckets().size(); ++b) {
    const base::Slice bucket = layout.buckets()[b];
    const at::Tensor whole = unit_.grads_.narrow(0, bucket.begin, bucket.size());
    if (lanes()) {
      received_.push_back(unit_.pool_.take(bucket.size()));
      under_way_.push_back(shard.all_to_all(received_.back(), whole, comm::Purpose::kGradients));
      continue;
    }
    at::Tensor sum = unit_.owned_grads(b);
    if (unit_.settings_.transient_grads()) {
      sum = unit_.pool_.take(sum.numel());
      received_.push_back(sum);
    }
    under_way_.push_back(shard.sum_scatter(sum, whole, comm::Purpose::kGradients));
  }
}

void Reduction::wait_for_all() {
  for (comm::Work& work : under_way_) work.wait();
  under_way_.clear();
}

// received_[b] holds one piece for each rank of the group: their sum by a binary tree.
void Reduction::add_up_lanes(comm::Group& group, size_t b, const at::Tensor& to) {
  at::Tensor pieces = received_[b].view({group.size(), -1});
  for (int64_t distance = 1; distance < group.size(); distance *= 2) {
    for (int64_t i = 0; i < group.size(); i += 2 * distance) {
      pieces[i].add_(pieces[i + distance]);
    }
  }
  to.copy_(pieces[0]);
  unit_.pool_.give(std::exchange(received_[b], {}));
}

void Reduction::advance(bool last) {
  if (state_ != State::kScattering) return;
  wait_for_all();
  for (size_t b = 0; b < received_.size(); ++b) {
    if (lanes()) {
      add_up_lanes(unit_.mesh_.shard(), b, unit_.owned_grads(b));
    } else {
      unit_.owned_grads(b).add_(received_[b]);
      unit_.pool_.give(std::exchange(received_[b], {}));
    }
  }
  received_.clear();
  if (unit_.settings_.transient_grads()) unit_.pool_.give(std::exchange(unit_.grads_, {}));
  state_ = State::kIdle;
  if (last) start_replicas();
}

void Reduction::start_replicas() {
  state_ = State::kReplicating;
  comm::Group& replicate = unit_.mesh_.replicate();
  if (replicate.size() == 1) return;
  for (size_t b = 0; b < unit_.layout().buckets().size(); ++b) {
    const at::Tensor owned = unit_.owned_grads(b);
    if (lanes()) {
      received_.push_back(unit_.pool_.take(owned.numel()));
      under_way_.push_back(
          replicate.all_to_all(received_.back(), owned, comm::Purpose::kGradients));
    } else {
      under_way_.push_back(replicate.all_sum(owned, comm::Purpose::kGradients));
    }
  }
}

void Reduction::finish_replicas() {
  wait_for_all();
  if (!lanes()) return;
  comm::Group& replicate = unit_.mesh_.replicate();
  for (size_t b = 0; b < received_.size(); ++b) {
    const at::Tensor owned = unit_.owned_grads(b);
    const int64_t piece = owned.numel() / replicate.size();
    const at::Tensor mine = owned.narrow(0, replicate.rank() * piece, piece);
    add_up_lanes(replicate, b, mine);
    under_way_.push_back(replicate.all_gather(owned, mine, comm::Purpose::kGradients));
  }
  received_.clear();
  wait_for_all();
}

// Norms of sequence-parallel rows, and key/value heads that several ranks hold.
void Reduction::sum_copies() {
  std::map<int, std::vector<at::Tensor>> by_parts;
  for (const OwnedSegment& segment : unit_.layout().segments()) {
    const LocalPart& local = unit_.layout().local(segment.parameter);
    if (local.copies > 1) by_parts[local.parts].push_back(unit_.owned_grads(segment));
  }
  for (auto& [parts, owned] : by_parts) {
    const at::Tensor together = at::cat(owned);
    unit_.mesh_.copies(parts).all_sum(together, comm::Purpose::kGradients).wait();
    int64_t at = 0;
    for (at::Tensor& grads : owned) {
      grads.copy_(together.narrow(0, at, grads.numel()));
      at += grads.numel();
    }
  }
}

void Reduction::finish() {
  advance(true);
  if (state_ != State::kReplicating) return;
  finish_replicas();
  state_ = State::kIdle;
  sum_copies();
}

}  // namespace rondo::parallel

#include "parallel/reduction.hpp"

#include <ATen/ATen.h>

#include <map>
#include <utility>

#include "base/error.hpp"

namespace rondo::parallel {

// One bucket of `whole`, an equal piece for every rank.
void Reduction::exchange(comm::Group& group, size_t b, const at::Tensor& whole) {
  sent_.resize(unit_.layout().buckets().size());
  received_.resize(unit_.layout().buckets().size());
  at::Tensor send = whole;
  if (unit_.settings_.bf16_exchange) {
    // Two halves of one buffer, so that the pool knows one size.
    sent_[b] = unit_.pool_.take(whole.numel());
    const at::Tensor halves = sent_[b].view(at::kBFloat16);
    send = halves.narrow(0, 0, whole.numel());
    send.copy_(whole);
    received_[b] = halves.narrow(0, whole.numel(), whole.numel());
  } else {
    received_[b] = unit_.pool_.take(whole.numel());
  }
  under_way_.push_back(group.all_to_all(received_[b], send, comm::Purpose::kGradients));
}

// The sum of bucket b's pieces goes (`add`: is added) to `to`.
void Reduction::add_up(comm::Group& group, size_t b, bool add, const at::Tensor& to) {
  at::Tensor buffer = std::exchange(received_[b], {});
  if (unit_.settings_.bf16_exchange) {
    const at::Tensor rounded = std::exchange(buffer, unit_.pool_.take(buffer.numel()));
    buffer.copy_(rounded);
    unit_.pool_.give(std::exchange(sent_[b], {}));
  }
  const at::Tensor pieces = buffer.view({group.size(), -1});
  for (int64_t distance = 1; distance < group.size(); distance *= 2) {
    for (int64_t i = 0; i + distance < group.size(); i += 2 * distance) {
      pieces[i].add_(pieces[i + distance]);
    }
  }
  add ? to.add_(pieces[0]) : to.copy_(pieces[0]);
  unit_.pool_.give(buffer);
}

void Reduction::wait_for_all() {
  for (comm::Work& work : under_way_) work.wait();
  under_way_.clear();
}

void Reduction::start(bool last) {
  RONDO_CHECK(stage_ == Stage::kIdle, "unit {} is summed already", unit_.name());
  stage_ = Stage::kShard;
  last_ = last;
  if (unit_.mesh_.shard().size() == 1) {
    end_shard();
    return;
  }
  for (size_t b = 0; b < unit_.layout().buckets().size(); ++b) {
    const base::Slice bucket = unit_.layout().buckets()[b];
    exchange(unit_.mesh_.shard(), b, unit_.grads_.narrow(0, bucket.begin, bucket.size()));
  }
}

void Reduction::advance() {
  if (stage_ != Stage::kShard && stage_ != Stage::kReplicas) return;
  wait_for_all();
  if (stage_ == Stage::kShard) {
    end_shard();
  } else {
    end_replicas();
  }
}

void Reduction::end_shard() {
  comm::Group& shard = unit_.mesh_.shard();
  comm::Group& replicate = unit_.mesh_.replicate();
  const bool transient = unit_.settings_.transient_grads();
  for (size_t b = 0; b < unit_.layout().buckets().size(); ++b) {
    const at::Tensor owned = unit_.owned_grads(b);
    const base::Slice bucket = unit_.layout().buckets()[b];
    if (shard.size() > 1) {
      add_up(shard, b, transient, owned);
    } else if (transient) {
      owned.add_(unit_.grads_.narrow(0, bucket.begin, bucket.size()));
    }
    if (last_ && replicate.size() > 1) exchange(replicate, b, owned);
  }
  if (transient) unit_.pool_.give(std::exchange(unit_.grads_, {}));
  stage_ = last_ ? Stage::kReplicas : Stage::kIdle;
}

void Reduction::end_replicas() {
  stage_ = Stage::kGather;
  comm::Group& replicate = unit_.mesh_.replicate();
  if (replicate.size() == 1) return;
  for (size_t b = 0; b < unit_.layout().buckets().size(); ++b) {
    const at::Tensor owned = unit_.owned_grads(b);
    const int64_t piece = owned.numel() / replicate.size();
    const at::Tensor mine = owned.narrow(0, replicate.rank() * piece, piece);
    add_up(replicate, b, false, mine);
    under_way_.push_back(replicate.all_gather(owned, mine, comm::Purpose::kGradients));
  }
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
  if (stage_ == Stage::kIdle) return;
  RONDO_CHECK(last_, "unit {}: more gradients were to come", unit_.name());
  while (stage_ != Stage::kGather) advance();
  wait_for_all();
  stage_ = Stage::kIdle;
  sum_copies();
}

}  // namespace rondo::parallel

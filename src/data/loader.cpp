#include "data/loader.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "data/step_order.hpp"

namespace rondo::data {

void check_batch_arithmetic(int64_t packs_per_step, int64_t micro_packs, int size) {
  const int64_t unit = micro_packs * size;
  if (packs_per_step >= 1 && micro_packs >= 1 && packs_per_step % unit == 0) return;
  base::fail_user(
      "batch.packs = {} does not divide into micro-batches: {} data-parallel ranks * "
      "batch.micro_packs = {} make {} packs at a time ({} / {}). Use a multiple of {}.",
      packs_per_step, size, micro_packs, unit, packs_per_step, unit, unit);
}

LoaderConfig evaluation_order(int64_t micro_packs, int rank, int size) {
  return {.packs_per_step = micro_packs * size,
          .micro_packs = micro_packs,
          .rank = rank,
          .size = size,
          .shuffled = false};
}

void check_read_ahead(int64_t read_ahead, int64_t micro_packs) {
  if (read_ahead >= micro_packs) return;
  base::fail_user(
      "batch.read_ahead = {} packs are less than a micro-batch (batch.micro_packs = {}). Give at "
      "least {}, or leave it out.",
      read_ahead, micro_packs, micro_packs);
}

Loader::Loader(const PackedSet& set, const LoaderConfig& config) : set_(set), config_(config) {
  check_batch_arithmetic(config.packs_per_step, config.micro_packs, config.size);
  RONDO_CHECK(config.rank >= 0 && config.rank < config.size);
  if (config.read_ahead == 0) return;
  check_read_ahead(config.read_ahead, config.micro_packs);
  thread_ = std::thread([this] { read_ahead(); });
}

Loader::~Loader() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard hold(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

int64_t Loader::steps_per_epoch() const {
  return base::ceil_div(set_.packs(), config_.packs_per_step);
}

int64_t Loader::micro_batches() const {
  return config_.packs_per_step / (config_.size * config_.micro_packs);
}

std::vector<int64_t> Loader::packs_of(int64_t step) {
  RONDO_CHECK(step >= 0 && steps_per_epoch() > 0);
  const int64_t epoch = step / steps_per_epoch();
  const int64_t first = step % steps_per_epoch() * config_.packs_per_step;
  std::vector<int64_t> packs(static_cast<size_t>(config_.packs_per_step), kEmptyPack);
  if (!config_.shuffled) {
    const int64_t count = std::min(config_.packs_per_step, set_.packs() - first);
    std::iota(packs.begin(), packs.begin() + count, first);
    return packs;
  }
  const std::lock_guard hold(order_mutex_);
  EpochOrder& order = orders_[static_cast<size_t>(epoch % 2)];
  if (order.epoch != epoch) {
    order.packs = order_of_epoch({config_.packs_per_step, config_.seed, set_.plan_hash()},
                                 set_.costs(), epoch);
    order.epoch = epoch;
  }
  std::copy_n(order.packs.begin() + first, config_.packs_per_step, packs.begin());
  return packs;
}

PackedBatch Loader::read(int64_t number) {
  const std::vector<int64_t> packs = packs_of(number / micro_batches());
  const int64_t mine = config_.rank * micro_batches() + number % micro_batches();
  return set_.read(std::span(packs).subspan(static_cast<size_t>(mine * config_.micro_packs),
                                            static_cast<size_t>(config_.micro_packs)),
                   config_.average);
}

void Loader::read_ahead() {
  // Its waking must not interrupt the training; where that cannot be asked for, it may.
  const sched_param normal{};
  ::sched_setscheduler(0, SCHED_BATCH, &normal);
  const int64_t most = config_.read_ahead / config_.micro_packs;
  std::unique_lock hold(mutex_);
  // Nothing is read before the first call says where to begin.
  changed_.wait(hold, [&] { return ends_ || generation_ > 0; });
  while (true) {
    changed_.wait(hold, [&] { return ends_ || std::ssize(ahead_) < most; });
    if (ends_) return;
    const int64_t generation = generation_;
    const int64_t number = first_ + std::ssize(ahead_);
    most_ahead_ = std::max<int64_t>(most_ahead_, std::ssize(ahead_) + 1);
    hold.unlock();
    Ahead next;
    try {
      next.batch = read(number);
    } catch (...) {
      next.failed = std::current_exception();
    }
    hold.lock();
    if (generation == generation_) ahead_.push_back(std::move(next));
    changed_.notify_all();
  }
}

PackedBatch Loader::micro_batch(int64_t step, int64_t m) {
  RONDO_CHECK(m >= 0 && m < micro_batches());
  const auto begin = std::chrono::steady_clock::now();
  const auto wait_ends = [&] {
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
    waited_s_ += waited.count();
  };
  const int64_t number = step * micro_batches() + m;
  if (!thread_.joinable()) {
    PackedBatch batch = read(number);
    wait_ends();
    return batch;
  }
  std::unique_lock hold(mutex_);
  if (generation_ == 0 || number != first_) {
    ahead_.clear();
    first_ = number;
    ++generation_;
    changed_.notify_all();
  }
  changed_.wait(hold, [&] { return !ahead_.empty(); });
  Ahead next = std::move(ahead_.front());
  ahead_.pop_front();
  ++first_;
  hold.unlock();
  changed_.notify_all();
  wait_ends();
  if (next.failed) std::rethrow_exception(next.failed);
  return std::move(next.batch);
}

int64_t Loader::most_read_ahead() {
  const std::lock_guard hold(mutex_);
  return most_ahead_ * config_.micro_packs;
}

std::vector<PackedBatch> Loader::step(int64_t step) {
  std::vector<PackedBatch> batches;
  for (int64_t m = 0; m < micro_batches(); ++m) batches.push_back(micro_batch(step, m));
  return batches;
}

double Loader::weight(int64_t step) {
  double sum = 0;
  for (const int64_t pack : packs_of(step)) sum += set_.weight_of(pack, config_.average);
  return sum;
}

std::vector<uint64_t> Loader::example_ids(int64_t step) {
  std::vector<uint64_t> ids;
  for (const int64_t pack : packs_of(step)) {
    const std::span<const uint64_t> of_pack = set_.example_ids(pack);
    ids.insert(ids.end(), of_pack.begin(), of_pack.end());
  }
  return ids;
}

}  // namespace rondo::data

#include "data/loader.hpp"

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

Loader::Loader(const PackedSet& set, const LoaderConfig& config) : set_(set), config_(config) {
  check_batch_arithmetic(config.packs_per_step, config.micro_packs, config.size);
  RONDO_CHECK(config.rank >= 0 && config.rank < config.size);
}

Loader::~Loader() = default;

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
  if (order_epoch_ != epoch) {
    order_ = order_of_epoch({config_.packs_per_step, config_.seed, set_.plan_hash()},
                            set_.costs(), epoch);
    order_epoch_ = epoch;
  }
  std::copy_n(order_.begin() + first, config_.packs_per_step, packs.begin());
  return packs;
}

std::vector<PackedBatch> Loader::read(int64_t step) {
  const std::vector<int64_t> packs = packs_of(step);
  const int64_t mine = micro_batches() * config_.micro_packs;
  std::vector<PackedBatch> batches;
  for (int64_t m = 0; m < micro_batches(); ++m) {
    const auto begin = static_cast<size_t>(config_.rank * mine + m * config_.micro_packs);
    batches.push_back(
        set_.read(std::span(packs).subspan(begin, static_cast<size_t>(config_.micro_packs)),
                  config_.average));
  }
  return batches;
}

std::vector<PackedBatch> Loader::step(int64_t step) {
  const auto begin = std::chrono::steady_clock::now();
  if (next_.valid() && next_step_ != step) next_.wait();
  std::vector<PackedBatch> batches = next_.valid() && next_step_ == step ? next_.get() : read(step);
  if (config_.prefetch) {
    next_step_ = step + 1;
    next_ = std::async(std::launch::async, [this, step] { return read(step + 1); });
  }
  waited_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return batches;
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

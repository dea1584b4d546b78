#include "kernels/emulation/emulation.hpp"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {
namespace {

constexpr size_t kStackBytes = size_t{64} << 10;

enum class State { kRuns, kAtBarrier, kInWarp, kDone };

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<std::byte[]> stack{new std::byte[kStackBytes]};
  dim3 index;
  State state = State::kRuns;
  std::array<std::byte, 8> given{};  // to its warp
};

class Block {
 public:
  using Fibers = std::vector<std::unique_ptr<Fiber>>;

  // `fibers` have served other blocks; there are as many as are needed from here on.
  Block(dim3 threads, size_t shared_bytes, const std::function<void()>& thread, unsigned seed,
        Fibers& fibers)
      : thread_(thread), random_(seed), fibers_(fibers) {
    shared_.assign((shared_bytes + sizeof(float) - 1) / sizeof(float),
                   std::numeric_limits<float>::quiet_NaN());
    fibers_.resize(size_t{threads.x} * threads.y * threads.z);
    size_t next = 0;
    for (unsigned z = 0; z < threads.z; ++z) {
      for (unsigned y = 0; y < threads.y; ++y) {
        for (unsigned x = 0; x < threads.x; ++x) {
          auto& fiber = fibers_[next++];
          if (!fiber) fiber = std::make_unique<Fiber>();
          fiber->index = {x, y, z};
          fiber->state = State::kRuns;
        }
      }
    }
  }

  void run() {
    for (size_t i = 0; i < fibers_.size(); ++i) {
      Fiber& fiber = *fibers_[i];
      ::getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = &scheduler_;
      ::makecontext(&fiber.context, &Block::enter, 0);
      order_.push_back(i);
    }
    while (!all(State::kDone)) {
      std::shuffle(order_.begin(), order_.end(), random_);
      for (const size_t i : order_) {
        if (fibers_[i]->state == State::kRuns) go_on(i);
      }
      if (error_) std::rethrow_exception(error_);
      release();
    }
  }

  // Called by a fiber: others run until what it waits for has come.
  void wait(State state) {
    Fiber& fiber = *fibers_[running_];
    fiber.state = state;
    ::swapcontext(&fiber.context, &scheduler_);
  }

  void give(const void* bytes, size_t count) {
    std::memcpy(fibers_[running_]->given.data(), bytes, count);
  }
  void take(void* bytes, size_t count, unsigned lane) const {
    const size_t from = running_ / kWarp * kWarp + lane;
    if (from >= fibers_.size()) throw std::logic_error("a lane that the warp does not have");
    std::memcpy(bytes, fibers_[from]->given.data(), count);
  }

  unsigned lane() const { return static_cast<unsigned>(running_ % kWarp); }
  void* shared() { return shared_.data(); }

  static inline Block* current = nullptr;

 private:
  static void enter() {
    Block& block = *current;
    try {
      block.thread_();
    } catch (...) {
      block.error_ = std::current_exception();
    }
    block.fibers_[block.running_]->state = State::kDone;
  }

  void go_on(size_t i) {
    running_ = i;
    threadIdx = fibers_[i]->index;
    ::swapcontext(&scheduler_, &fibers_[i]->context);
  }

  bool all(State state) const {
    return std::all_of(fibers_.begin(), fibers_.end(),
                       [&](const auto& fiber) { return fiber->state == state; });
  }

  // Lets go who has waited for all others: warps whose lanes have all come, or the whole block.
  void release() {
    bool any = false;
    for (size_t begin = 0; begin < fibers_.size(); begin += kWarp) {
      const size_t end = std::min(begin + kWarp, fibers_.size());
      const auto in_warp = [&](size_t i) { return fibers_[i]->state == State::kInWarp; };
      size_t come = 0;
      for (size_t i = begin; i < end; ++i) come += in_warp(i) ? 1 : 0;
      if (come == 0) continue;
      if (come < end - begin) {
        throw std::logic_error("lanes of a warp wait for others that do not come: " +
                               std::to_string(come) + " of " + std::to_string(end - begin));
      }
      for (size_t i = begin; i < end; ++i) fibers_[i]->state = State::kRuns;
      any = true;
    }
    if (any) return;
    for (const auto& fiber : fibers_) any = any || fiber->state == State::kAtBarrier;
    if (any && !all(State::kAtBarrier)) {
      throw std::logic_error("threads of a block have ended while others wait at a barrier");
    }
    for (const auto& fiber : fibers_) {
      if (fiber->state == State::kAtBarrier) fiber->state = State::kRuns;
    }
  }

  const std::function<void()>& thread_;
  std::mt19937 random_;
  std::vector<float> shared_;
  Fibers& fibers_;
  std::vector<size_t> order_;
  ucontext_t scheduler_{};
  size_t running_ = 0;
  std::exception_ptr error_;
};

}  // namespace

void run(dim3 grid, dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& thread) {
  gridDim = grid;
  blockDim = block;
  unsigned seed = 1;
  Block::Fibers fibers;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        Block running(block, dynamic_shared_bytes, thread, seed++, fibers);
        Block::current = &running;
        blockIdx = {x, y, z};
        running.run();
      }
    }
  }
  Block::current = nullptr;
}

void* dynamic_shared() { return Block::current->shared(); }

void exchange(const void* mine, void* theirs, size_t bytes, unsigned from) {
  Block& block = *Block::current;
  block.give(mine, bytes);
  block.wait(State::kInWarp);
  block.take(theirs, bytes, from);
  // Nobody gives anew before all have taken.
  block.wait(State::kInWarp);
}

unsigned lane() { return Block::current->lane(); }

}  // namespace emulation

void __syncthreads() { emulation::Block::current->wait(emulation::State::kAtBarrier); }

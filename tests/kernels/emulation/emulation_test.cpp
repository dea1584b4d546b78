// The emulation finds what a GPU would do wrong.
#include "kernels/emulation/emulation.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>
#include <vector>

namespace {

TEST(Emulation, RunsEveryThreadOfEveryBlockOnce) {
  std::vector<int> times(4 * 3 * 40, 0);
  emulation::run({4, 3}, {8, 5}, 0, [&] {
    const unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
    ++times[block * 40 + threadIdx.y * blockDim.x + threadIdx.x];
  });
  EXPECT_EQ(times, std::vector<int>(480, 1));
}

TEST(Emulation, BarriersOrderWhatThreadsWriteAndRead) {
  std::vector<int> shared(64), sums(64);
  emulation::run({1}, {64}, 0, [&] {
    shared[threadIdx.x] = static_cast<int>(threadIdx.x);
    __syncthreads();
    sums[threadIdx.x] = std::accumulate(shared.begin(), shared.end(), 0);
  });
  EXPECT_EQ(sums, std::vector<int>(64, 2016));
}

TEST(Emulation, AMissingBarrierShows) {
  std::vector<int> shared(64, 0), found(64);
  emulation::run({1}, {64}, 0, [&] {
    shared[threadIdx.x] = 1;
    found[threadIdx.x] = shared[63 - threadIdx.x];
  });
  EXPECT_NE(found, std::vector<int>(64, 1));
}

TEST(Emulation, LanesExchangeWithinTheirWarp) {
  std::vector<int> found(64);
  emulation::run({1}, {64}, 0, [&] {
    found[threadIdx.x] = __shfl_xor_sync(0xffffffffU, static_cast<int>(threadIdx.x), 16);
  });
  for (int i = 0; i < 64; ++i) EXPECT_EQ(found[static_cast<size_t>(i)], i ^ 16);
}

TEST(Emulation, ThreadsThatWaitForWhoDoesNotComeAreAnError) {
  EXPECT_THROW(emulation::run({1}, {64}, 0,
                              [] {
                                if (threadIdx.x > 0) __syncthreads();
                              }),
               std::logic_error);
  EXPECT_THROW(emulation::run({1}, {32}, 0,
                              [] {
                                if (threadIdx.x > 0) __shfl_xor_sync(0xffffffffU, 1, 1);
                              }),
               std::logic_error);
}

TEST(Emulation, SharedMemoryBeginsAsNothing) {
  emulation::run({2}, {4}, 16, [] {
    float* const memory = static_cast<float*>(emulation::dynamic_shared());
    EXPECT_TRUE(std::isnan(memory[threadIdx.x]));
    memory[threadIdx.x] = 1;
  });
}

}  // namespace

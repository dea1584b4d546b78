// Runs CUDA kernels on the host, for tests of their indices and of what their threads do together:
// the threads of a block are fibers of one system thread, each run until it waits for the others.
// Between two barriers they run in an order that is shuffled anew, so that a missing barrier shows.
//
// A file of kernels (src/kernels/cuda/*.cu) is compiled as C++ with this header in the place of
// CUDA's. Blocks run one after another; `__shared__` is `static`.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

// Lengths of arrays are int in kernels.
#pragma GCC diagnostic ignored "-Wsign-conversion"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
using cudaStream_t = void*;

// Of the thread that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

inline float rsqrtf(float value) { return 1.0F / std::sqrt(value); }

namespace emulation {

inline constexpr unsigned kWarp = 32;

// Runs all blocks of a kernel. `thread` is what each thread does. Throws std::logic_error when
// threads of a block or of a warp wait for one another in different places.
void run(dim3 grid, dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& thread);

// Dynamic shared memory of the block that runs, filled with NaN at its start.
void* dynamic_shared();

// The `bytes` (at most 8) that lane `from` of this thread's warp gives; all lanes must come.
void exchange(const void* mine, void* theirs, size_t bytes, unsigned from);
unsigned lane();

}  // namespace emulation

template <class T>
T __shfl_xor_sync(unsigned /*mask*/, T value, int lanes) {
  T result;
  emulation::exchange(&value, &result, sizeof(T), emulation::lane() ^ static_cast<unsigned>(lanes));
  return result;
}

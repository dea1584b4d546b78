// What the kernel tests share: seeded numbers, comparison to the bit, other numbers of threads.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstring>
#include <vector>

namespace rondo::test {

// Normally distributed float32, the same for the same seed.
inline at::Tensor normal(std::vector<int64_t> sizes, uint64_t seed, double scale = 1.0) {
  at::Generator generator = at::globalContext().defaultGenerator(at::kCPU).clone();
  generator.set_current_seed(seed);
  return at::randn(sizes, generator, at::kFloat) * scale;
}

// Whole numbers below `limit`.
inline at::Tensor whole(int64_t count, int64_t limit, uint64_t seed, at::ScalarType type) {
  at::Generator generator = at::globalContext().defaultGenerator(at::kCPU).clone();
  generator.set_current_seed(seed);
  return at::randint(limit, {count}, generator, at::kLong).to(type);
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         std::memcmp(a.contiguous().const_data_ptr(), b.contiguous().const_data_ptr(),
                     a.nbytes()) == 0;
}

// A tensor that nothing has written to yet, recognisable when it stays so.
inline at::Tensor unwritten(std::vector<int64_t> sizes) {
  return at::full(sizes, std::nan(""), at::kFloat);
}

// What make() returns when `threads` threads compute it.
template <class Make>
auto with_threads(int threads, Make&& make) {
  at::set_num_threads(threads);
  auto result = make();
  at::set_num_threads(1);
  return result;
}

}  // namespace rondo::test

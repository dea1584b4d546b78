#include "train/calibration.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <limits>

namespace rondo::train {

double calibrate_rank(comm::Group& group) {
  constexpr int64_t kRows = 2048, kInner = 512, kColumns = 1408;
  constexpr int kTries = 12;
  // Values near 1 that no denormal number or zero can speed up or slow down.
  const at::Tensor a =
      at::arange(kRows * kInner, at::kFloat).remainder(7).add(1).view({kRows, kInner});
  const at::Tensor b =
      at::arange(kInner * kColumns, at::kFloat).remainder(5).add(1).view({kInner, kColumns});
  at::Tensor out = at::empty({kRows, kColumns});
  at::mm_out(out, a, b);
  group.barrier();
  double best_s = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    at::mm_out(out, a, b);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best_s = std::min(best_s, seconds.count());
  }
  return 2.0 * kRows * kInner * kColumns / best_s;
}

double calibrate(comm::Group& group) {
  at::Tensor rate = at::full({1}, calibrate_rank(group), at::kDouble);
  group.all_sum(rate, comm::Purpose::kMetrics).wait();
  return rate.item<double>();
}

}  // namespace rondo::train

#include "train/calibration.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <limits>
#include <string_view>

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

Peak data_sheet_peak(const std::string& gpu) {
  struct Known {
    std::string_view name;
    double tera_flops;
  };
  // Longer names first.
  constexpr Known kKnown[] = {
      {"H100 PCIe", 756},  {"H100 NVL", 835.5}, {"H100", 989.4}, {"H200", 989.4},
      {"H800", 989.4},     {"GH200", 989.4},    {"A100", 312},   {"A800", 312},
      {"B200", 2250},      {"L40S", 362},       {"L40", 181},    {"L4", 121},
      {"RTX 4090", 165.2}, {"A10", 125},        {"A30", 165},    {"A40", 149.7}};
  for (const Known& known : kKnown) {
    const size_t at = gpu.find(known.name);
    if (at == std::string::npos) continue;
    // A whole word: an A4000 is no A40.
    const size_t end = at + known.name.size();
    if (at > 0 && std::isalnum(static_cast<unsigned char>(gpu[at - 1])) != 0) continue;
    if (end < gpu.size() && std::isalnum(static_cast<unsigned char>(gpu[end])) != 0) continue;
    return {.flops = known.tera_flops * 1e12};
  }
  return {};
}

Peak peak_of(const std::string& gpu) {
  const Peak known = data_sheet_peak(gpu);
  if (known.flops > 0) return known;
  constexpr int64_t kSize = 4096;
  constexpr int kWarmUp = 3, kTimes = 20;
  const at::Tensor a = at::randn({kSize, kSize}, at::device(at::kCUDA)).to(at::kBFloat16);
  at::Tensor out = at::empty_like(a);
  const auto multiply = [&](int times) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) at::mm_out(out, a, a);
    out.cpu();  // waits
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  multiply(kWarmUp);
  return {.flops = kTimes * 2.0 * kSize * kSize * kSize / multiply(kTimes), .measured = true};
}

}  // namespace rondo::train

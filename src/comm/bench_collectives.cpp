#include "comm/bench_collectives.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace rondo::comm {

namespace {

struct Timed {
  std::string name;
  double ring;  // bytes that a ring sends per rank, over those of the larger tensor
  std::function<Work(at::Tensor& whole, at::Tensor& part)> start;
};

double median_seconds(Group& group, const Timed& operation, at::Tensor& whole, at::Tensor& part,
                      int64_t repeats) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats + 2; ++i) {
    group.barrier();
    const auto begin = std::chrono::steady_clock::now();
    operation.start(whole, part).wait();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    at::Tensor slowest = at::full({1}, spent.count(), at::kDouble);
    group.all_max(slowest, Purpose::kMetrics).wait();
    if (i >= 2) seconds.push_back(slowest.item<double>());
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

}  // namespace

nlohmann::json bench_collectives(Group& group, int64_t repeats) {
  const double size = group.size();
  const double scattered = (size - 1) / size;
  const std::vector<Timed> operations = {
      {"all_sum", 2 * scattered,
       [&](at::Tensor& whole, at::Tensor&) { return group.all_sum(whole, Purpose::kOther); }},
      {"sum_scatter", scattered,
       [&](at::Tensor& whole, at::Tensor& part) {
         return group.sum_scatter(part, whole, Purpose::kOther);
       }},
      {"all_gather", scattered,
       [&](at::Tensor& whole, at::Tensor& part) {
         return group.all_gather(whole, part, Purpose::kOther);
       }},
      {"all_to_all", scattered,
       [&, other = at::Tensor()](at::Tensor& whole, at::Tensor&) mutable {
         if (!other.defined() || other.numel() != whole.numel()) other = at::empty_like(whole);
         return group.all_to_all(other, whole, Purpose::kOther);
       }},
      {"broadcast", 1,
       [&](at::Tensor& whole, at::Tensor&) { return group.broadcast(whole, 0, Purpose::kOther); }},
  };
  auto results = nlohmann::json::array();
  for (const Timed& operation : operations) {
    for (int64_t bytes = int64_t{1} << 10; bytes <= int64_t{1} << 26; bytes *= 4) {
      const int64_t part_numel = std::max<int64_t>(1, bytes / 4 / group.size());
      at::Tensor whole = at::zeros({part_numel * group.size()}, at::kFloat);
      at::Tensor part = at::zeros({part_numel}, at::kFloat);
      const double seconds = median_seconds(group, operation, whole, part, repeats);
      const double real = static_cast<double>(whole.numel()) * 4;
      results.push_back({{"operation", operation.name},
                         {"bytes", whole.numel() * 4},
                         {"seconds", seconds},
                         {"bytes_per_s", real / seconds},
                         {"bus_bytes_per_s", operation.ring * real / seconds}});
    }
  }
  return {{"bench", "collectives"},
          {"backend", group.backend()},
          {"ranks", group.size()},
          {"repeats", repeats},
          {"results", results}};
}

}  // namespace rondo::comm

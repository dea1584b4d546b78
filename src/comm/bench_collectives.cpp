#include "comm/bench_collectives.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace rondo::comm {

namespace {

constexpr const char* kOperations[] = {"all_sum", "sum_scatter", "all_gather", "all_to_all",
                                       "broadcast"};

// Bytes that a ring sends per rank, over those of the larger tensor.
double ring_share(std::string_view operation, double size) {
  if (operation == "broadcast") return 1;
  return (operation == "all_sum" ? 2 : 1) * (size - 1) / size;
}

Work start(Group& group, std::string_view operation, at::Tensor& whole, at::Tensor& other) {
  if (operation == "all_sum") return group.all_sum(whole, Purpose::kOther);
  if (operation == "sum_scatter") return group.sum_scatter(other, whole, Purpose::kOther);
  if (operation == "all_gather") return group.all_gather(whole, other, Purpose::kOther);
  if (operation == "all_to_all") return group.all_to_all(other, whole, Purpose::kOther);
  RONDO_CHECK(operation == "broadcast", "{} is not timed", operation);
  return group.broadcast(whole, 0, Purpose::kOther);
}

}  // namespace

CollectiveTime time_collective(Group& group, std::string_view operation, int64_t bytes,
                               int64_t repeats) {
  const int64_t part_numel = std::max<int64_t>(1, bytes / 4 / group.size());
  at::Tensor whole = at::zeros({part_numel * group.size()}, at::kFloat);
  at::Tensor other =
      at::zeros({operation == "all_to_all" ? whole.numel() : part_numel}, at::kFloat);
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats + 2; ++i) {
    group.barrier();
    const auto begin = std::chrono::steady_clock::now();
    start(group, operation, whole, other).wait();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    at::Tensor slowest = at::full({1}, spent.count(), at::kDouble);
    group.all_max(slowest, Purpose::kMetrics).wait();
    if (i >= 2) seconds.push_back(slowest.item<double>());
  }
  std::ranges::sort(seconds);
  CollectiveTime time{.operation = std::string(operation), .bytes = whole.numel() * 4};
  time.seconds = seconds[seconds.size() / 2];
  time.bytes_per_s = static_cast<double>(time.bytes) / time.seconds;
  time.bus_bytes_per_s = ring_share(operation, group.size()) * time.bytes_per_s;
  return time;
}

nlohmann::json to_json(const CollectiveTime& time) {
  return {{"operation", time.operation},
          {"bytes", time.bytes},
          {"seconds", time.seconds},
          {"bytes_per_s", time.bytes_per_s},
          {"bus_bytes_per_s", time.bus_bytes_per_s}};
}

nlohmann::json bench_collectives(Group& group, int64_t repeats) {
  auto results = nlohmann::json::array();
  for (const char* operation : kOperations) {
    for (int64_t bytes = int64_t{1} << 10; bytes <= int64_t{1} << 26; bytes *= 4) {
      results.push_back(to_json(time_collective(group, operation, bytes, repeats)));
    }
  }
  return {{"bench", "collectives"},
          {"backend", group.backend()},
          {"ranks", group.size()},
          {"repeats", repeats},
          {"results", results}};
}

}  // namespace rondo::comm

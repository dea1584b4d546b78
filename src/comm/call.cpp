#include "comm/call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"

namespace rondo::comm {

std::string_view name_of(Purpose purpose) {
  switch (purpose) {
    case Purpose::kControl:
      return "control";
    case Purpose::kGradients:
      return "gradients";
    case Purpose::kWeights:
      return "weights";
    case Purpose::kActivations:
      return "activations";
    case Purpose::kMetrics:
      return "metrics";
    case Purpose::kOther:
      return "other";
  }
  throw base::Bug("unknown purpose");
}

std::string_view name_of(Operation operation) {
  switch (operation) {
    case Operation::kAllSum:
      return "all_sum";
    case Operation::kAllMax:
      return "all_max";
    case Operation::kSumScatter:
      return "sum_scatter";
    case Operation::kAllGather:
      return "all_gather";
    case Operation::kBroadcast:
      return "broadcast";
    case Operation::kAllToAll:
      return "all_to_all";
    case Operation::kSplit:
      return "split";
  }
  throw base::Bug("unknown operation");
}

std::string_view name_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kByte:
      return "uint8";
    default:
      return c10::toString(type);
  }
}

std::string to_text(const Call& call) {
  if (call.operation == Operation::kSplit) return "split";
  std::string text =
      fmt::format("{} of {} {}", name_of(call.operation), call.elements, name_of(call.type));
  if (call.operation == Operation::kBroadcast) text += fmt::format(" from root {}", call.root);
  return text;
}

std::string ranks_text(std::span<const int> ranks) {
  constexpr size_t kNamed = 8;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  const size_t named = ranks.size() <= kNamed ? ranks.size() : 3;
  for (size_t i = 0; i < named; ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", ranks[i]);
  if (named < ranks.size()) text += fmt::format(" and {} others", ranks.size() - named);
  return text;
}

std::string mismatch_text(std::string_view group, std::span<const Call> calls,
                          std::span<const int> world_ranks) {
  const int64_t sequence = calls.front().sequence;
  std::string text = fmt::format("group {}, operation {}: ", group, sequence);
  std::vector<bool> told(calls.size(), false);
  for (size_t first = 0; first < calls.size(); ++first) {
    if (told[first]) continue;
    std::vector<int> ranks;
    for (size_t r = first; r < calls.size(); ++r) {
      if (!(calls[r] == calls[first])) continue;
      told[r] = true;
      ranks.push_back(world_ranks[r]);
    }
    text += fmt::format("{}{} called {}", first == 0 ? "" : ", ", ranks_text(ranks),
                        to_text(calls[first]));
    if (calls[first].sequence != sequence) {
      text += fmt::format(" as operation {}", calls[first].sequence);
    }
  }
  return text + ". All ranks of a group must make the same calls in the same order.";
}

}  // namespace rondo::comm

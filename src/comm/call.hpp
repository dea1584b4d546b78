// Call: what one rank asks of its group in one collective, in numbers and in words.
//
// Ranks of a group must make the same calls in the same order; the backends compare Calls to find
// out that they did not.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace rondo::comm {

// What a collective is for; bytes, calls and times are counted per purpose.
enum class Purpose { kControl, kGradients, kWeights, kActivations, kMetrics, kOther };
inline constexpr int kPurposes = 6;
std::string_view name_of(Purpose purpose);

// kSplit is compared like a collective, but neither numbered nor recorded.
enum class Operation : uint8_t {
  kAllSum,
  kAllMax,
  kSumScatter,
  kAllGather,
  kBroadcast,
  kAllToAll,
  kSplit
};
std::string_view name_of(Operation operation);

// "float32", "bfloat16".
std::string_view name_of(at::ScalarType type);

struct Call {
  int64_t sequence = 0;  // of the operation within its group, from 1; a split has the next one's
  int64_t elements = 0;  // of the larger tensor (input or output)
  int32_t root = -1;     // of a broadcast: its rank in the group
  Operation operation = Operation::kAllSum;
  at::ScalarType type = at::kFloat;

  bool operator==(const Call&) const = default;
};
// Ranks send it to each other as bytes.
static_assert(std::is_trivially_copyable_v<Call>);

// "all_sum of 4096 float32", "broadcast of 10 int64 from root 2".
std::string to_text(const Call& call);

// "rank 3"; "ranks 0, 2, 5"; "ranks 0, 1, 2 and 61 others".
std::string ranks_text(std::span<const int> ranks);

// What to say when ranks of `group` met in different calls; the same on all of them. `calls` and
// `world_ranks` (their ranks in the run) are by rank in the group. "group shard, operation 17:
// rank 0 called all_sum of 4096 float32, rank 1 called all_gather of 1024 float32. ..." Ranks with
// the same call are named together.
std::string mismatch_text(std::string_view group, std::span<const Call> calls,
                          std::span<const int> world_ranks);

}  // namespace rondo::comm

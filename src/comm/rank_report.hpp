// What a rank says of itself when the run makes no progress; as JSON, docs/formats/hang.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/flight_recorders.hpp"

namespace rondo::comm {

struct OperationReport {
  int64_t sequence = 0;
  std::string operation;
  int64_t elements = 0;
  std::string type;
  int64_t root = -1;  // of a broadcast
  std::string purpose;
  int64_t bytes = 0;
  std::string state;   // kWaiting, kUnderWay or kDone
  double seconds = 0;  // it has been under way so far, or was
  double started_s_ago = 0;

  // The rank does nothing else.
  static constexpr const char* kWaiting = "waiting";
  // The rank does other work meanwhile.
  static constexpr const char* kUnderWay = "under way";
  static constexpr const char* kDone = "done";

  // "all_sum of 4096 float32": what all ranks of the group must have in common.
  std::string call() const;
};

struct GroupReport {
  std::string name;
  std::vector<int> ranks;                   // of the run; empty: not known
  std::vector<OperationReport> operations;  // the last ones, the oldest first

  int64_t last() const { return operations.empty() ? 0 : operations.back().sequence; }
  // The group is the same on another rank.
  bool same_as(const GroupReport& other) const {
    return name == other.name && ranks == other.ranks && !ranks.empty();
  }
};

struct RankReport {
  int rank = 0;
  std::string host;
  int64_t pid = 0;
  std::string phase;
  int64_t step = 0;  // 0: none
  double seconds = 0;
  double budget_s = 0;  // of the phase; infinite: none
  bool expired = false;
  std::vector<GroupReport> groups;
};

std::vector<GroupReport> report_groups(const FlightRecorders& recorders, Clock::time_point now);

nlohmann::json to_json(const RankReport& report);
// UserError when it is none.
RankReport rank_report_from(const nlohmann::json& json);

}  // namespace rondo::comm

// Why a run makes no progress, found out from the reports of its ranks.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "comm/rank_report.hpp"

namespace rondo::comm {

// A rank of the run, as it was at the start.
struct RankPlace {
  std::string host;
  int64_t pid = 0;
};

// Some lines. `reports`: of those ranks that could make one, by rank; `places`: of all ranks. Names
// the ranks that hold up the others:
//   without a report            dead, stopped, or cut off
//   in no collective            while others wait for it in one: where, and in which phase it is
//   in another operation        than the others at the same place of a group
// Where there is none: ranks that wait for each other, or all at the same operation.
std::string hang_text(std::span<const RankReport> reports, std::span<const RankPlace> places);

}  // namespace rondo::comm

// Reports of the ranks of a run that makes no progress, in RUN/hangs/ID/ (docs/formats/hang.md).
//
// The ranks meet through files alone, since whatever else they communicate by may be what is stuck.
// ID is agreed at the start; the folder is made by the first report.
#pragma once

#include <string>
#include <vector>

#include "base/watchdog.hpp"
#include "comm/control.hpp"
#include "comm/flight_recorders.hpp"
#include "comm/hang_text.hpp"
#include "comm/rank_report.hpp"

namespace rondo::train {

class HangReports {
 public:
  // How long a rank waits for the reports of the others, and then for the one that tells.
  static constexpr double kMeetSeconds = 3;
  static constexpr double kTellSeconds = 2;

  // Collective over all ranks. `host`: of this one.
  HangReports(const std::string& run_folder, comm::Control& control, const std::string& host);

  // Whether a rank has begun to report.
  bool any() const;
  // Of this rank.
  comm::RankReport own(const base::Phases::State& state,
                       const comm::FlightRecorders& recorders) const;
  // Writes the report of this rank and waits up to `seconds` for those of the others. On the lowest
  // rank that has reported: what they say, for a person; "" on the others, and where it was told
  // before.
  std::string meet(const comm::RankReport& own, double seconds = kMeetSeconds) const;
  // It was told: writes summary.txt, after which all ranks end.
  void told(const std::string& text) const;
  // Waits for that, up to `seconds`; whether it came.
  bool wait_for_told(double seconds = kTellSeconds) const;

  const std::string& folder() const { return folder_; }

 private:
  // Files of reports, and what is in them; by rank.
  std::vector<std::string> files() const;
  std::vector<comm::RankReport> read() const;

  const int rank_;
  std::string folder_;
  std::vector<comm::RankPlace> places_;
};

}  // namespace rondo::train

// The flight recorders of all groups of a rank, for a report on where it is.
//
// Any thread may list them while others make groups and operate on them.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comm/flight_recorder.hpp"

namespace rondo::comm {

class FlightRecorders {
 public:
  struct Entry {
    std::string group;
    std::vector<int> ranks;  // of the run, in the order of the group; empty: not known
    std::shared_ptr<const FlightRecorder> recorder;
  };

  void add(std::string group, std::vector<int> ranks,
           const std::shared_ptr<const FlightRecorder>& recorder);
  // Those whose groups still live, the oldest first.
  std::vector<Entry> list() const;

 private:
  struct Kept {
    std::string group;
    std::vector<int> ranks;
    std::weak_ptr<const FlightRecorder> recorder;
  };
  mutable std::mutex mutex_;
  std::vector<Kept> kept_;
};

}  // namespace rondo::comm

#include "comm/flight_recorders.hpp"

#include <utility>

namespace rondo::comm {

void FlightRecorders::add(std::string group, std::vector<int> ranks,
                          const std::shared_ptr<const FlightRecorder>& recorder) {
  const std::scoped_lock hold(mutex_);
  std::erase_if(kept_, [](const Kept& kept) { return kept.recorder.expired(); });
  kept_.push_back({std::move(group), std::move(ranks), recorder});
}

std::vector<FlightRecorders::Entry> FlightRecorders::list() const {
  const std::scoped_lock hold(mutex_);
  std::vector<Entry> entries;
  for (const Kept& kept : kept_) {
    if (auto recorder = kept.recorder.lock()) {
      entries.push_back({kept.group, kept.ranks, std::move(recorder)});
    }
  }
  return entries;
}

}  // namespace rondo::comm

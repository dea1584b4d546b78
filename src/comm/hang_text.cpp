#include "comm/hang_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "comm/call.hpp"

namespace rondo::comm {

namespace {

// Where a rank waits.
struct Wait {
  const GroupReport* group = nullptr;
  const OperationReport* operation = nullptr;

  std::string text() const {
    return fmt::format("group {}, operation {}: {} ({})", group->name, operation->sequence,
                       operation->call(), operation->purpose);
  }
};

// Of a rank that waits in nothing, an empty one.
Wait wait_of(const RankReport& report) {
  Wait wait;
  for (const GroupReport& group : report.groups) {
    for (const OperationReport& operation : group.operations) {
      const bool later =
          wait.operation == nullptr || operation.started_s_ago < wait.operation->started_s_ago;
      if (operation.state == OperationReport::kWaiting && later) wait = {&group, &operation};
    }
  }
  return wait;
}

const GroupReport* find_group(const RankReport& report, const GroupReport& group) {
  const auto found = std::ranges::find_if(
      report.groups, [&](const GroupReport& other) { return other.same_as(group); });
  return found == report.groups.end() ? nullptr : &*found;
}

std::string phase_text(const RankReport& report) {
  const std::string step = report.step > 0 ? fmt::format(" {}", report.step) : "";
  const std::string phase = report.phase == "step" ? "step" + step
                            : step.empty()         ? report.phase
                                                   : fmt::format("{}, step{}", report.phase, step);
  return fmt::format("phase '{}' for {:.0f} s", phase, report.seconds);
}

class Ranks {
 public:
  Ranks(std::span<const RankReport> reports, std::span<const RankPlace> places) : places_(places) {
    for (const RankReport& report : reports) {
      reports_[report.rank] = &report;
      waits_[report.rank] = wait_of(report);
    }
    for (int rank = 0; rank < static_cast<int>(places.size()); ++rank) {
      if (!reports_.contains(rank)) silent_.insert(rank);
    }
    for (const auto& [rank, wait] : waits_) {
      if (wait.group == nullptr) continue;
      Meeting& meeting = meetings_[{wait.text(), wait.group->ranks}];
      meeting.wait = wait;
      meeting.there.push_back(rank);
    }
    for (const auto& [key, meeting] : meetings_) look_around(meeting);
  }

  std::string text() const {
    std::string text = beginning();
    text += about_silent();
    const size_t before = text.size();
    text += about_working();
    text += about_differing();
    if (text.size() > before || !silent_.empty()) return text;
    return text + about_nobody();
  }

 private:
  // Ranks that wait in the same operation.
  struct Meeting {
    Wait wait;
    std::vector<int> there;
  };

  // Who has not come, and who has come with another operation.
  void look_around(const Meeting& meeting) {
    const Wait& wait = meeting.wait;
    const int64_t sequence = wait.operation->sequence;
    bool differs = false;
    for (const int member : wait.group->ranks) {
      if (std::ranges::binary_search(meeting.there, member)) continue;
      const auto found = reports_.find(member);
      const GroupReport* theirs =
          found == reports_.end() ? nullptr : find_group(*found->second, *wait.group);
      // One that works, having come here before, gives what it started here no progress.
      if (theirs == nullptr || theirs->last() < sequence || !waits(member)) {
        missed_[member].push_back(&meeting);
        continue;
      }
      const Wait& other = waits_.at(member);
      differs = differs || (other.group == theirs && other.operation->sequence == sequence &&
                            other.operation->call() != wait.operation->call());
    }
    if (differs) differing_.insert(meeting.there.begin(), meeting.there.end());
  }

  bool waits(int rank) const {
    const auto found = waits_.find(rank);
    return found != waits_.end() && found->second.group != nullptr;
  }

  std::string place(int rank) const {
    const RankPlace& place = places_[static_cast<size_t>(rank)];
    return fmt::format("rank {} ({}, pid {})", rank, place.host, place.pid);
  }

  std::string beginning() const {
    for (const auto& [rank, report] : reports_) {
      if (!report->expired) continue;
      return fmt::format(
          "no progress: rank {} has been in {}, longer than its budget of {:.0f} s\n", rank,
          phase_text(*report), report->budget_s);
    }
    return "no progress\n";
  }

  // "; ranks 0, 2 wait for it in group data, operation 17: ..."
  std::string awaited(int rank) const {
    const auto found = missed_.find(rank);
    if (found == missed_.end()) return "";
    std::string text;
    for (const Meeting* meeting : found->second) {
      text += fmt::format("; {} {} for it in {}", ranks_text(meeting->there),
                          meeting->there.size() == 1 ? "waits" : "wait", meeting->wait.text());
    }
    return text;
  }

  std::string about_silent() const {
    std::string text;
    size_t told = 0;
    for (const int rank : silent_) {
      if (++told > kTold) continue;
      text +=
          fmt::format("{} has made no report: dead, stopped, or cut off from the run folder{}\n",
                      place(rank), awaited(rank));
    }
    if (told > kTold) text += fmt::format("the same of {} others\n", told - kTold);
    if (!silent_.empty()) text += "Look at those nodes and processes.\n";
    return text;
  }

  std::string about_working() const {
    std::string text;
    size_t told = 0;
    for (const auto& [rank, meetings] : missed_) {
      if (silent_.contains(rank) || waits(rank)) continue;
      if (++told > kTold) continue;
      const GroupReport* own = find_group(*reports_.at(rank), *meetings.front()->wait.group);
      text += fmt::format(
          "{} is in no collective: {}{}{}\n", place(rank), phase_text(*reports_.at(rank)),
          own == nullptr
              ? ""
              : fmt::format(", and has come to operation {} of group {}", own->last(), own->name),
          awaited(rank));
    }
    if (told > kTold) text += fmt::format("the same of {} others\n", told - kTold);
    if (told > 0) {
      text += "Look at what it does there; raise watchdog.least_s when it was only slow.\n";
    }
    return text;
  }

  std::string about_differing() const {
    if (differing_.empty()) return "";
    return "ranks are in different operations at the same place, a bug in rondo:\n" +
           positions(differing_);
  }

  std::string about_nobody() const {
    std::set<int> waiting;
    for (const auto& [rank, report] : reports_) {
      if (waits(rank)) waiting.insert(rank);
    }
    if (waiting.empty()) {
      std::string text = "no rank waits for another in a collective:\n";
      size_t told = 0;
      for (const auto& [rank, report] : reports_) {
        if (++told <= kTold) text += fmt::format("{}: {}\n", place(rank), phase_text(*report));
      }
      return text + "Look at the file system of the run.\n";
    }
    if (!missed_.empty()) {
      return "ranks wait for each other in different operations, by a bug in rondo or a message "
             "that "
             "the network has lost:\n" +
             positions(waiting);
    }
    return positions(waiting) +
           "All have come to the same operation: look at the network between them.\n";
  }

  // Where `ranks` wait, one line for each place.
  std::string positions(const std::set<int>& ranks) const {
    std::map<std::string, std::vector<int>> by_place;
    for (const int rank : ranks) by_place[waits_.at(rank).text()].push_back(rank);
    std::string text;
    for (const auto& [where, there] : by_place) {
      text += fmt::format("{} {} in {}\n", ranks_text(there), there.size() == 1 ? "waits" : "wait",
                          where);
    }
    return text;
  }

  static constexpr size_t kTold = 4;  // ranks that are named alone

  std::span<const RankPlace> places_;
  std::map<int, const RankReport*> reports_;
  std::map<int, Wait> waits_;  // of those with a report
  std::set<int> silent_;
  // By text and ranks of the group, as groups of other ranks have the same names.
  std::map<std::pair<std::string, std::vector<int>>, Meeting> meetings_;
  std::map<int, std::vector<const Meeting*>> missed_;  // of a rank: where others wait for it
  std::set<int> differing_;
};

}  // namespace

std::string hang_text(std::span<const RankReport> reports, std::span<const RankPlace> places) {
  return Ranks(reports, places).text();
}

}  // namespace rondo::comm

#include "train/hang_reports.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <functional>
#include <system_error>
#include <thread>

#include "base/error.hpp"
#include "base/file.hpp"
#include "train/run_folder.hpp"

namespace rondo::train {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kSummary = "summary.txt";

// Whole or not at all, but not synced: it is to survive the end of this process, which is near.
void write_whole(const std::string& path, const std::string& text) {
  const std::string part = fmt::format("{}.part", path);
  std::error_code ignored;
  std::filesystem::remove(part, ignored);
  base::File file = base::File::create(part);
  file.write_at(0, std::as_bytes(std::span(text)));
  file.close();
  if (::rename(part.c_str(), path.c_str()) != 0) base::fail_errno("rename", path);
}

// Asks until `done`, or until the time is over: false.
bool wait_until(double seconds, const std::function<bool()>& done) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (!done()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return true;
}

}  // namespace

HangReports::HangReports(const std::string& run_folder, comm::Control& control,
                         const std::string& host)
    : rank_(control.rank()) {
  const std::string id = control.broadcast_text(fmt::format("{}-{}", utc_now(), ::getpid()));
  folder_ = fmt::format("{}/hangs/{}", run_folder, id);
  for (const std::string& text : control.gather_text(fmt::format("{} {}", ::getpid(), host))) {
    const size_t space = text.find(' ');
    places_.push_back({.host = text.substr(space + 1), .pid = std::stoll(text.substr(0, space))});
  }
}

bool HangReports::any() const {
  std::error_code ignored;
  return std::filesystem::exists(folder_, ignored);
}

comm::RankReport HangReports::own(const base::Phases::State& state,
                                  const comm::FlightRecorders& recorders) const {
  const comm::RankPlace& place = places_[static_cast<size_t>(rank_)];
  return {.rank = rank_,
          .host = place.host,
          .pid = place.pid,
          .phase = state.phase,
          .step = state.step,
          .seconds = state.seconds,
          .budget_s = state.budget_s,
          .expired = state.expired(),
          .groups = comm::report_groups(recorders, comm::Clock::now())};
}

std::string HangReports::meet(const comm::RankReport& own, double seconds) const {
  try {
    std::filesystem::create_directories(folder_);
    write_whole(fmt::format("{}/rank-{:06}.json", folder_, rank_), comm::to_json(own).dump(1));
  } catch (const std::exception& error) {
    if (rank_ != 0) return "";
    return fmt::format(
        "no progress: rank 0 has been in phase '{}' for {:.0f} s, and no report of it can be "
        "written to {}: {}\n",
        own.phase, own.seconds, folder_, error.what());
  }
  // A process that was stopped and runs again comes late.
  if (wait_for_told(0)) return "";
  if (rank_ == 0) {
    wait_until(seconds, [&] { return files().size() == places_.size(); });
  } else if (wait_for_told(seconds)) {
    return "";
  }
  const auto reports = read();
  if (reports.empty() || reports.front().rank != rank_) return "";
  return fmt::format("{}reports of {} of {} ranks: {}\n", comm::hang_text(reports, places_),
                     reports.size(), places_.size(), folder_);
}

std::vector<std::string> HangReports::files() const {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path().string());
  }
  std::ranges::sort(paths);
  return paths;
}

std::vector<comm::RankReport> HangReports::read() const {
  std::vector<comm::RankReport> reports;
  for (const std::string& path : files()) {
    try {
      reports.push_back(comm::rank_report_from(nlohmann::json::parse(base::read_text(path))));
    } catch (const std::exception&) {
      continue;  // its rank is without a report
    }
  }
  return reports;
}

void HangReports::told(const std::string& text) const {
  try {
    write_whole(folder_ + "/" + kSummary, text);
  } catch (const std::exception&) {
    return;  // the others end without it, a little later
  }
}

bool HangReports::wait_for_told(double seconds) const {
  return wait_until(seconds, [&] {
    std::error_code ignored;
    return std::filesystem::exists(folder_ + "/" + kSummary, ignored);
  });
}

}  // namespace rondo::train

#include "train/stop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "base/error.hpp"

namespace rondo::train {

std::optional<double> seconds_left(const Config& config,
                                   std::chrono::steady_clock::time_point started,
                                   const std::string& job_end) {
  std::optional<double> left;
  if (config.run.max_minutes > 0) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - started;
    left = 60 * config.run.max_minutes - passed.count();
  }
  if (job_end.empty()) return left;
  int64_t end = 0;
  const auto [rest, error] = std::from_chars(job_end.data(), job_end.data() + job_end.size(), end);
  if (error != std::errc{} || rest != job_end.data() + job_end.size()) {
    base::fail_user("SLURM_JOB_END_TIME is '{}', seconds since 1970 are expected.", job_end);
  }
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  const double of_job = static_cast<double>(end) - now.count();
  return left ? std::min(*left, of_job) : of_job;
}

double StopRequests::lead_s() const {
  return 2 * step_s_ + 2 * save_s_ + std::min(30.0, settings_.total_s / 20);
}

std::string StopRequests::reason() {
  if (settings_.signalled()) return "a signal";
  if (settings_.file.empty()) return {};
  const auto now = Clock::now();
  if (settings_.end) {
    const double left = std::chrono::duration<double>(*settings_.end - now).count();
    if (left < lead_s()) return fmt::format("{:.0f} s are left of its time", std::max(left, 0.0));
  }
  if (!looked_ || now - *looked_ >= std::chrono::seconds(1)) {
    looked_ = now;
    std::error_code ignored;
    file_there_ = std::filesystem::exists(settings_.file, ignored);
  }
  return file_there_ ? fmt::format("the file {}", settings_.file) : "";
}

void StopRequests::met() const {
  std::error_code ignored;
  if (!settings_.file.empty()) std::filesystem::remove(settings_.file, ignored);
}

}  // namespace rondo::train

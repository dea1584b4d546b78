// Findings from what was measured of a file system.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "base/units.hpp"
#include "comm/slowness.hpp"
#include "storage/selftest_files.hpp"

namespace rondo::storage {

namespace {

using base::Finding;
using base::Status;

constexpr double kSlowShare = 1.0 / 4;

// Names of the hosts whose sight is `bad`; empty when none is.
template <class Bad>
std::string hosts_where(const FilesMeasured& measured, const comm::Hosts& hosts, const Bad& bad) {
  constexpr size_t kNamed = 8;
  std::vector<std::string> names;
  for (size_t host = 0; host < measured.sights.size(); ++host) {
    if (bad(measured.sights[host])) names.push_back(hosts.names[host]);
  }
  if (names.size() <= kNamed) return fmt::format("{}", fmt::join(names, ", "));
  const size_t more = names.size() - kNamed;
  names.resize(kNamed);
  return fmt::format("{} and {} others", fmt::join(names, ", "), more);
}

Finding judge_sights(const FilesMeasured& measured, const comm::Hosts& hosts) {
  const std::string check = "shared folder";
  if (hosts.size() == 1) return {check, Status::kOk, "one host"};
  const auto blind = hosts_where(measured, hosts, [](const Sight& s) { return s.made_s < 0; });
  if (!blind.empty()) {
    return {check, Status::kFailed,
            fmt::format("{} did not see within {:.0f} s what {} wrote in {}: put run.dir on a file "
                        "system that all hosts share",
                        blind, measured.looked_s, hosts.names[0], measured.folder)};
  }
  const auto late = hosts_where(measured, hosts, [](const Sight& s) { return s.renamed_s < 0; });
  if (!late.empty()) {
    return {
        check, Status::kWarning,
        fmt::format("{} did not see within {:.0f} s what {} renamed in {}: names are cached "
                    "there (NFS: mount with a shorter acdirmax); wait so long before a job goes "
                    "on where one on another host ended",
                    late, measured.looked_s, hosts.names[0], measured.folder)};
  }
  double made = 0, renamed = 0;
  for (const Sight& sight : measured.sights) {
    made = std::max(made, sight.made_s);
    renamed = std::max(renamed, sight.renamed_s);
  }
  return {check, Status::kOk,
          fmt::format("all {} hosts see a new file after {}, a new name after {}", hosts.size(),
                      base::format_short(made), base::format_short(renamed))};
}

Finding judge_locks(const FilesMeasured& measured, const comm::Hosts& hosts) {
  const std::string check = "locks";
  if (!measured.has_flock) {
    return {check, Status::kWarning,
            fmt::format("flock() does not work in {} (Lustre: mount with -o flock): do not start "
                        "two jobs in one run folder within the same second",
                        measured.folder)};
  }
  const auto open = hosts_where(measured, hosts, [](const Sight& s) { return !s.locked; });
  if (!open.empty()) {
    return {check, Status::kWarning,
            fmt::format("a lock that {} holds in {} does not keep out {} (Lustre: -o flock instead "
                        "of localflock): do not start two jobs in one run folder within the same "
                        "second",
                        hosts.names[0], measured.folder, open)};
  }
  return {check, Status::kOk,
          hosts.size() == 1 ? "flock() works" : "flock() of one host keeps out the others"};
}

std::vector<Finding> judge_writing(const FilesMeasured& measured, const comm::Hosts& hosts) {
  const std::string check = "write speed";
  if (!measured.write_failure.empty()) {
    return {{check, Status::kFailed,
             fmt::format("{}: {}. Free some space or quota, or choose another run.dir",
                         measured.folder, measured.write_failure)}};
  }
  std::vector<double> per_rank;
  for (size_t host = 0; host < hosts.size(); ++host) {
    per_rank.push_back(measured.write_bytes_per_s[host] /
                       static_cast<double>(hosts.ranks[host].size()));
  }
  std::vector<Finding> findings;
  for (const comm::SlowPart& part : comm::slower_than_others(per_rank, kSlowShare)) {
    const std::string& name = hosts.names[part.index];
    findings.push_back(
        {check, Status::kWarning,
         fmt::format(
             "{} writes {} with each rank, {:.0f} % of the other hosts' median: look at its "
             "mount and its network, or leave it out",
             name, base::format_rate(per_rank[part.index]), 100 * part.share)});
  }
  if (!findings.empty()) return findings;
  const double all =
      std::accumulate(measured.write_bytes_per_s.begin(), measured.write_bytes_per_s.end(), 0.0);
  return {{check, Status::kOk,
           fmt::format("{} with fsync, all ranks at once ({} written)", base::format_rate(all),
                       base::format_bytes(measured.written_bytes))}};
}

}  // namespace

std::vector<Finding> judge_files(const FilesMeasured& measured, const comm::Hosts& hosts) {
  std::vector<Finding> findings;
  for (const std::string& failure : measured.failures) {
    findings.push_back({"files", Status::kFailed,
                        fmt::format("{} ({}): {}. Choose another run.dir, or have it made writable "
                                    "for this user",
                                    measured.folder, measured.kind, failure)});
  }
  if (findings.empty()) {
    findings.push_back({"files", Status::kOk,
                        fmt::format("create, write, fsync, rename, link and unlink work in {} ({})",
                                    measured.folder, measured.kind)});
  }
  if (measured.sights.empty()) return findings;
  findings.push_back(judge_sights(measured, hosts));
  findings.push_back(judge_locks(measured, hosts));
  if (!measured.write_bytes_per_s.empty()) {
    for (Finding& finding : judge_writing(measured, hosts)) findings.push_back(std::move(finding));
  }
  return findings;
}

nlohmann::json to_json(const FilesMeasured& measured, const comm::Hosts& hosts) {
  auto by_host = nlohmann::json::array();
  const auto seconds = [](double value) {
    return value < 0 ? nlohmann::json() : nlohmann::json(value);
  };
  for (size_t host = 0; host < measured.sights.size(); ++host) {
    const Sight& sight = measured.sights[host];
    nlohmann::json rate;
    if (!measured.write_bytes_per_s.empty()) rate = measured.write_bytes_per_s[host];
    by_host.push_back({{"host", hosts.names[host]},
                       {"file_seen_s", seconds(sight.made_s)},
                       {"rename_seen_s", seconds(sight.renamed_s)},
                       {"lock_seen", sight.locked},
                       {"write_bytes_per_s", rate}});
  }
  return {{"folder", measured.folder},
          {"file_system", measured.kind},
          {"free_bytes", measured.free_bytes},
          {"written_bytes", measured.written_bytes},
          {"write_bytes_per_s", std::accumulate(measured.write_bytes_per_s.begin(),
                                                measured.write_bytes_per_s.end(), 0.0)},
          {"hosts", by_host}};
}

}  // namespace rondo::storage

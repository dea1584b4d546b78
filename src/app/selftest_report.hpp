// What `rondo selftest` says: a table of hosts, a line for each check, and all of it as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/console.hpp"
#include "base/finding.hpp"
#include "comm/hosts.hpp"
#include "comm/selftest_links.hpp"
#include "storage/selftest_files.hpp"
#include "train/selftest_plan.hpp"
#include "train/selftest_ranks.hpp"

namespace rondo::app {

// Parts that were not measured are missing.
struct SelftestReport {
  std::string program, libraries;
  std::string config;  // its file; "" when none was given
  comm::Hosts hosts;
  std::vector<base::Finding> findings;
  std::vector<train::RankMeasured> ranks;
  std::optional<comm::LinksMeasured> links;
  std::optional<storage::FilesMeasured> files;
  std::optional<train::DiskNeed> need;
  nlohmann::json nccl;
  double seconds = 0;

  void add(std::vector<base::Finding> more);
};

nlohmann::json to_json(const SelftestReport& report);
void print(const SelftestReport& report, base::Console& console);

}  // namespace rondo::app

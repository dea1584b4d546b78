// What the file system of a run folder is like for the ranks of a run: the part of `rondo selftest`
// that touches files.
//
// All of it happens in a folder of its own, `.selftest-<8 digits>`, which is removed at the end.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/finding.hpp"
#include "comm/control.hpp"
#include "comm/hosts.hpp"

namespace rondo::storage {

// Seconds until the first rank of a host saw what rank 0 did; below 0: not within the time.
struct Sight {
  double made_s = -1;     // a new file with its whole content
  double renamed_s = -1;  // its new name, and the old one gone
  bool locked = false;    // flock() of a file that rank 0 holds was refused
};

// The same on all ranks.
struct FilesMeasured {
  std::string folder;
  std::string kind;                   // "nfs", "lustre", "ext4", ...; "0x..." where not known
  int64_t free_bytes = 0;             // that this user may write
  std::vector<std::string> failures;  // operations that failed on rank 0, in words
  bool has_flock = true;
  double looked_s = 0;        // how long hosts looked before they gave up
  std::vector<Sight> sights;  // by host; empty when rank 0 could not make files
  // All ranks writing at once, every piece synced.
  int64_t written_bytes = 0;
  std::vector<double> write_bytes_per_s;  // by host: summed over its ranks
  std::string write_failure;              // with its rank, in words; empty when none
};

struct FilesBudget {
  double sight_s = 10;                      // for hosts to see a file
  double write_s = 10;                      // for writing, about
  int64_t most_bytes = int64_t{256} << 20;  // of all ranks, and at most half of what is free
};

// Collective over all ranks. `folder` exists on the host of rank 0.
FilesMeasured measure_files(const std::string& folder, const comm::Hosts& hosts,
                            comm::Control& control, const FilesBudget& budget);

// Findings "files", "shared folder", "locks" and "write speed" from made or measured figures.
std::vector<base::Finding> judge_files(const FilesMeasured& measured, const comm::Hosts& hosts);

nlohmann::json to_json(const FilesMeasured& measured, const comm::Hosts& hosts);

// The folder itself, or the nearest of its parents that exists.
std::string nearest_folder(const std::string& path);

}  // namespace rondo::storage

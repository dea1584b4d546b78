#include "base/host_memory.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

namespace rondo::base {

namespace {

// The number after `name` at the start of a line; nothing where there is none.
std::optional<int64_t> number_after(const std::string& file, std::string_view name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    std::istringstream words(line.substr(name.size()));
    if (int64_t number = 0; words >> number) return number;
    return {};
  }
  return {};
}

std::optional<int64_t> kibibytes(const std::string& file, std::string_view name) {
  const auto number = number_after(file, name);
  return number ? std::optional<int64_t>(*number * 1024) : std::nullopt;
}

// The files of a control group of one hierarchy.
struct GroupFiles {
  const char* mount;
  const char* limit;
  const char* used;
  const char* cache[2];  // names in memory.stat of what is given back under pressure
};
constexpr GroupFiles kUnified = {
    "/sys/fs/cgroup", "memory.max", "memory.current", {"inactive_file ", "active_file "}};
constexpr GroupFiles kMemory = {"/sys/fs/cgroup/memory",
                                "memory.limit_in_bytes",
                                "memory.usage_in_bytes",
                                {"total_inactive_file ", "total_active_file "}};

// What the limit of one group leaves; without a limit, the largest number.
int64_t left_in_group(const GroupFiles& files, const std::string& folder) {
  constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  const auto limit = number_after(fmt::format("{}/{}", folder, files.limit), "");  // "max": none
  const auto used = number_after(fmt::format("{}/{}", folder, files.used), "");
  if (!limit || !used) return kNoLimit;
  int64_t cache = 0;
  for (const char* name : files.cache) {
    cache += number_after(folder + "/memory.stat", name).value_or(0);
  }
  return std::max<int64_t>(0, *limit - std::max<int64_t>(0, *used - cache));
}

// Of this group and all above it. In a container the path may be that of the host: what is not
// there has no limit.
int64_t left_in_groups(const GroupFiles& files, const std::string& root, std::string path) {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (;;) {
    least = std::min(least, left_in_group(files, root + files.mount + path));
    if (path.empty()) return least;
    path.resize(path.rfind('/'));
  }
}

}  // namespace

int64_t resident_bytes() { return kibibytes("/proc/self/status", "VmRSS:").value_or(0); }
int64_t peak_resident_bytes() { return kibibytes("/proc/self/status", "VmHWM:").value_or(0); }

int64_t available_bytes(const std::string& root) {
  // Where the system does not say: half of what the machine has in all.
  const int64_t half = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE) / 2;
  int64_t available = kibibytes(root + "/proc/meminfo", "MemAvailable:").value_or(half);
  // Lines of hierarchy, controllers and path: "0::/job/step", "9:memory:/job/step".
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    std::string path = line.substr(second + 1);
    if (path.empty() || path.front() != '/') continue;
    if (path == "/") path.clear();
    if (controllers == ",,") {
      available = std::min(available, left_in_groups(kUnified, root, path));
    } else if (controllers.find(",memory,") != std::string::npos) {
      available = std::min(available, left_in_groups(kMemory, root, path));
    }
  }
  return available;
}

}  // namespace rondo::base

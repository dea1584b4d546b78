#include "train/memory.hpp"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "plan/memory.hpp"
#include "train/plan_of.hpp"

namespace rondo::train {

int64_t choose_micro_packs(const Layout& layout, const model::Shape& shape, int64_t seq_len,
                           int64_t packs_per_rank, int64_t budget_bytes) {
  const plan::Dimensions dimensions = dimensions_of(shape);
  const plan::Layout plan = plan_layout(layout, shape);
  constexpr int64_t kMostRows = 4096;
  int64_t best = 1;
  for (int64_t packs = 1; packs <= packs_per_rank; ++packs) {
    if (packs_per_rank % packs != 0) continue;
    const int64_t rows = packs * seq_len;
    if (rows <= kMostRows && plan::activation_bytes(dimensions, plan, rows) <= budget_bytes) {
      best = packs;
    }
  }
  return best;
}

namespace {

// A value in kB of a file of /proc, in bytes; 0 when it is not there.
int64_t proc_bytes(const char* file, std::string_view name) {
  std::ifstream info(file);
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with(name)) continue;
    std::istringstream words(line.substr(name.size()));
    int64_t kibibytes = 0;
    words >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

int64_t resident_bytes() { return proc_bytes("/proc/self/status", "VmRSS:"); }
int64_t peak_resident_bytes() { return proc_bytes("/proc/self/status", "VmHWM:"); }

int64_t available_memory(int ranks_on_host) {
  const int64_t available = proc_bytes("/proc/meminfo", "MemAvailable:");
  if (available > 0) return available / ranks_on_host;
  // Not Linux: half of what the machine has in all.
  return static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE) / 2 /
         ranks_on_host;
}

}  // namespace rondo::train

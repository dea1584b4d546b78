// Laws: the limits of a batch job and of a container count, at whatever level they are set.
#include "base/host_memory.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temp_folder.hpp"

namespace rondo::base {
namespace {

// Files of /proc and /sys below a folder.
class Root {
 public:
  Root() { write("proc/meminfo", "MemTotal: 9999 kB\nMemAvailable:    1000 kB\n"); }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = folder_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void group(const std::string& path, const std::string& limit, int64_t used, int64_t cache) const {
    write(path + "/memory.max", limit + "\n");
    write(path + "/memory.current", std::to_string(used) + "\n");
    write(path + "/memory.stat",
          "anon 5\ninactive_file " + std::to_string(cache) + "\nactive_file 10\n");
  }
  int64_t available() const { return available_bytes(folder_.path()); }

 private:
  test::TempFolder folder_;
};

TEST(AvailableBytes, IsWhatTheHostHasWithoutALimit) {
  const Root root;
  EXPECT_EQ(root.available(), 1'024'000);
  root.write("proc/self/cgroup", "0::/job/step\n");
  root.group("sys/fs/cgroup/job", "max", 500, 0);
  EXPECT_EQ(root.available(), 1'024'000);
  root.write("proc/meminfo", "nothing\n");
  EXPECT_GT(root.available(), 0);
}

TEST(AvailableBytes, ALimitAtAnyLevelCountsAndCacheIsGivenBack) {
  const Root root;
  root.write("proc/self/cgroup", "1:name=systemd:/x\n0::/job/step/task\n");
  root.group("sys/fs/cgroup/job", "60000", 50'000, 20'000);
  root.group("sys/fs/cgroup/job/step/task", "max", 100, 0);
  EXPECT_EQ(root.available(), 60'000 - (50'000 - 20'010));
  root.group("sys/fs/cgroup/job/step", "40000", 39'000, 0);
  EXPECT_EQ(root.available(), 1'010);
  root.group("sys/fs/cgroup/job/step", "40000", 50'000, 0);
  EXPECT_EQ(root.available(), 0);
}

TEST(AvailableBytes, OfAContainerWhosePathIsItsHosts) {
  const Root root;
  root.write("proc/self/cgroup", "0::/\n");
  root.group("sys/fs/cgroup", "3000", 1'000, 0);
  EXPECT_EQ(root.available(), 2'010);
}

TEST(AvailableBytes, OfTheOlderHierarchy) {
  const Root root;
  root.write("proc/self/cgroup", "9:cpuset,memory:/slurm/job\n2:memoryless:/a\n");
  root.write("sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes", "5000\n");
  root.write("sys/fs/cgroup/memory/slurm/job/memory.usage_in_bytes", "4000\n");
  root.write("sys/fs/cgroup/memory/slurm/job/memory.stat",
             "inactive_file 999\ntotal_inactive_file 100\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "4000\n");
  EXPECT_EQ(root.available(), 1'100);
}

TEST(ResidentBytes, GrowsToItsPeak) {
  EXPECT_GT(resident_bytes(), 1 << 20);
  EXPECT_GE(peak_resident_bytes(), resident_bytes() / 2);
}

}  // namespace
}  // namespace rondo::base

#include "storage/selftest_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "storage/publish.hpp"

namespace rondo::storage {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kFirstPiece = int64_t{4} << 20;
constexpr int64_t kLeastPiece = int64_t{64} << 10;
constexpr int64_t kLargestPiece = int64_t{64} << 20;

// statfs(2), linux/magic.h, and the headers of the parallel file systems.
struct Kind {
  int64_t magic;
  const char* name;
};
constexpr std::array kKinds = {
    Kind{0x6969, "nfs"},        Kind{0x0BD00BD0, "lustre"},  Kind{0x47504653, "gpfs"},
    Kind{0x19830326, "beegfs"}, Kind{0x00C36400, "ceph"},    Kind{0x01021994, "tmpfs"},
    Kind{0xEF53, "ext4"},       Kind{0x58465342, "xfs"},     Kind{0x9123683E, "btrfs"},
    Kind{0x2FC12FC1, "zfs"},    Kind{0x794C7630, "overlay"}, Kind{0x65735546, "fuse"},
    Kind{0xFF534D42, "cifs"},   Kind{0xFE534D42, "smb2"},    Kind{0x7461636F, "ocfs2"},
    Kind{0x01161970, "gfs2"},   Kind{0x01021997, "9p"},      Kind{0x20030528, "orangefs"}};

std::string kind_of(int64_t magic) {
  const int64_t word = magic & 0xFFFFFFFF;
  const auto* found = std::ranges::find(kKinds, word, &Kind::magic);
  return found == kKinds.end() ? fmt::format("0x{:X}", word) : found->name;
}

// An open file under flock(), given back at the end.
class Locked {
 public:
  // Without waiting. `errno` is that of the call that failed.
  explicit Locked(const std::string& path) : descriptor_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    held_ = descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
    error_ = held_ ? 0 : errno;
  }
  ~Locked() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

  bool held() const { return held_; }
  bool refused() const { return error_ == EWOULDBLOCK; }
  int error() const { return error_; }

 private:
  int descriptor_;
  bool held_ = false;
  int error_ = 0;
};

void write_file(const std::string& path, std::string_view text) {
  base::File file = base::File::create(path);
  file.write_at(0, std::as_bytes(std::span(text)));
  file.sync();
  file.close();
}

// Everything that a run does with small files, on one rank.
class Operations {
 public:
  Operations(std::string folder, FilesMeasured& measured)
      : folder_(std::move(folder)), measured_(measured) {}

  void run() {
    const std::string made = folder_ + "/made";
    const std::string moved = folder_ + "/moved";
    const std::string linked = folder_ + "/linked";
    if (!works("mkdir", [&] {
          if (::mkdir(folder_.c_str(), 0755) != 0) base::fail_errno("mkdir", folder_);
        })) {
      return;
    }
    if (!works("create, write and fsync", [&] {
          write_file(made, std::string(4096, 'x'));
          base::sync_folder(folder_);
        })) {
      return;
    }
    if (!works("rename", [&] { rename_durably(made, moved); })) return;
    works("link (which the lock of a run folder needs)", [&] {
      if (::link(moved.c_str(), linked.c_str()) != 0) base::fail_errno("link", linked);
    });
    {
      const Locked first(moved);
      const Locked second(moved);
      measured_.has_flock = first.held() && second.refused();
    }
    works("unlink", [&] {
      if (::unlink(moved.c_str()) != 0) base::fail_errno("unlink", moved);
    });
  }

 private:
  bool works(const char* what, const std::function<void()>& action) {
    try {
      action();
      return true;
    } catch (const std::exception& error) {
      measured_.failures.push_back(fmt::format("{} does not work: {}", what, error.what()));
      return false;
    }
  }

  std::string folder_;
  FilesMeasured& measured_;
};

// Seconds until `seen`, asked every few milliseconds; below 0 when it never was.
double seconds_until(const std::function<bool()>& seen, double most_s) {
  const auto start = Clock::now();
  for (;;) {
    if (seen()) return base::seconds_since(start);
    if (base::seconds_since(start) > most_s) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

bool holds(const std::string& path, const std::string& text) {
  try {
    return base::read_text(path) == text;
  } catch (const std::exception&) {
    return false;
  }
}

// Collective over all ranks: what the first rank of each host sees of rank 0's files in `folder`.
std::vector<Sight> look(const std::string& folder, const comm::Hosts& hosts, comm::Control& control,
                        double most_s) {
  const std::string made = folder + "/seen";
  const std::string moved = folder + "/seen-moved";
  const bool looks = hosts.local_rank(control.rank()) == 0;
  const std::string text(8192, 'x');
  Sight sight;
  control.on_first([&] { write_file(made, text); });
  if (looks) sight.made_s = seconds_until([&] { return holds(made, text); }, most_s);
  control.barrier();
  control.on_first([&] { rename_durably(made, moved); });
  if (looks && sight.made_s >= 0) {
    const auto seen = [&] { return holds(moved, text) && !fs::exists(made); };
    sight.renamed_s = seconds_until(seen, most_s);
  }
  control.barrier();
  {
    std::optional<Locked> lock;
    if (control.is_first()) lock.emplace(moved);
    control.barrier();
    if (looks) sight.locked = Locked(moved).refused();
    control.barrier();
  }
  const nlohmann::json mine = {sight.made_s, sight.renamed_s, sight.locked};
  const auto texts = control.gather_text(mine.dump());
  std::vector<Sight> sights;
  for (const std::vector<int>& ranks : hosts.ranks) {
    const auto json = nlohmann::json::parse(texts[static_cast<size_t>(ranks[0])]);
    sights.push_back({.made_s = json[0], .renamed_s = json[1], .locked = json[2]});
  }
  return sights;
}

struct Written {
  int64_t bytes = 0;
  double seconds = 0;
  std::string failure;
};

// Pieces that double, each synced, until all is written or another would take too long.
Written write_pieces(const std::string& path, int64_t most_bytes, double most_s) {
  Written written;
  try {
    const int64_t largest = std::min(most_bytes, kLargestPiece);
    // Nothing that a file system could compress.
    std::vector<uint64_t> noise(static_cast<size_t>((largest + 7) / 8));
    uint64_t state = 0x9E3779B97F4A7C15;
    for (uint64_t& word : noise) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      word = state;
    }
    const auto bytes = std::as_bytes(std::span(noise));
    base::File file = base::File::create(path);
    int64_t piece = std::min(largest, kFirstPiece);
    const auto start = Clock::now();
    while (written.bytes < most_bytes) {
      file.write_at(written.bytes, bytes.first(static_cast<size_t>(piece)));
      file.sync();
      written.bytes += piece;
      written.seconds = base::seconds_since(start);
      piece = std::min({2 * piece, largest, most_bytes - written.bytes});
      const double expected =
          written.seconds * static_cast<double>(piece) / static_cast<double>(written.bytes);
      if (written.seconds + expected > most_s) break;
    }
    file.close();
  } catch (const std::exception& error) {
    written.failure = error.what();
  }
  return written;
}

// Collective over all ranks.
void write_all(const std::string& folder, const comm::Hosts& hosts, comm::Control& control,
               const FilesBudget& budget, FilesMeasured& measured) {
  const int rank = control.rank();
  const int64_t share = std::min(budget.most_bytes, measured.free_bytes / 2) / control.size();
  control.barrier();
  const Written mine = write_pieces(fmt::format("{}/rank-{}", folder, rank),
                                    std::max(share, kLeastPiece), budget.write_s);
  const nlohmann::json json = {mine.bytes, mine.seconds, mine.failure};
  const auto texts = control.gather_text(json.dump());
  measured.write_bytes_per_s.assign(hosts.size(), 0);
  for (size_t r = 0; r < texts.size(); ++r) {
    const auto said = nlohmann::json::parse(texts[r]);
    const int64_t bytes = said[0];
    const double seconds = said[1];
    const std::string failure = said[2];
    measured.written_bytes += bytes;
    if (seconds > 0) {
      measured.write_bytes_per_s[hosts.of_rank[r]] += static_cast<double>(bytes) / seconds;
    }
    if (!failure.empty() && measured.write_failure.empty()) {
      measured.write_failure =
          fmt::format("rank {} ({}): {}", r, hosts.names[hosts.of_rank[r]], failure);
    }
  }
}

// What rank 0 alone found, on all ranks.
void share_findings(FilesMeasured& measured, comm::Control& control) {
  const nlohmann::json said = {measured.folder, measured.kind, measured.free_bytes,
                               measured.failures, measured.has_flock};
  const auto json = nlohmann::json::parse(control.broadcast_text(said.dump()));
  measured.folder = json[0];
  measured.kind = json[1];
  measured.free_bytes = json[2];
  measured.failures = json[3].get<std::vector<std::string>>();
  measured.has_flock = json[4];
}

}  // namespace

namespace {

// Of rank 0; removed in the end, whatever happens.
struct OwnFolder {
  std::string path;

  ~OwnFolder() { remove(); }
  std::error_code remove() {
    std::error_code error;
    if (!path.empty()) fs::remove_all(path, error);
    path.clear();
    return error;
  }
};

}  // namespace

FilesMeasured measure_files(const std::string& folder, const comm::Hosts& hosts,
                            comm::Control& control, const FilesBudget& budget) {
  FilesMeasured measured;
  measured.looked_s = budget.sight_s;
  OwnFolder own;
  control.on_first([&] {
    std::error_code error;
    measured.folder = fs::canonical(folder, error).string();
    if (error) base::fail_user("{}: cannot be found: {}.", folder, error.message());
    struct statfs status {};
    if (::statfs(measured.folder.c_str(), &status) != 0) {
      base::fail_errno("statfs", measured.folder);
    }
    measured.kind = kind_of(static_cast<int64_t>(status.f_type));
    measured.free_bytes =
        static_cast<int64_t>(status.f_bavail) *
        static_cast<int64_t>(status.f_frsize > 0 ? status.f_frsize : status.f_bsize);
    own.path = fmt::format("{}/.selftest-{}", measured.folder, unique_id().substr(0, 8));
    Operations(own.path, measured).run();
  });
  const std::string path = control.broadcast_text(own.path);
  share_findings(measured, control);
  if (measured.failures.empty()) {
    measured.sights = look(path, hosts, control, budget.sight_s);
    const bool seen =
        std::ranges::all_of(measured.sights, [](const Sight& sight) { return sight.made_s >= 0; });
    if (seen) write_all(path, hosts, control, budget, measured);
  }
  control.on_first([&] {
    if (const auto error = own.remove()) {
      measured.failures.push_back(fmt::format("{} cannot be removed: {}", path, error.message()));
    }
  });
  share_findings(measured, control);
  return measured;
}

std::string nearest_folder(const std::string& path) {
  fs::path folder = fs::absolute(path).lexically_normal();
  std::error_code error;
  while (!fs::is_directory(folder, error) && folder.has_relative_path()) {
    folder = folder.parent_path();
  }
  return folder.string();
}

}  // namespace rondo::storage

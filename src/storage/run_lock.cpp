#include "storage/run_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "base/error.hpp"
#include "base/file.hpp"
#include "storage/publish.hpp"

namespace rondo::storage {

namespace fs = std::filesystem;

namespace {

// First line of a file of /proc; empty where there is none.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Field 22 of /proc/PID/stat (proc(5)): start in clock ticks after boot; -1 when there is no such
// process, or only what is left of one that has ended until its parent asks (a zombie). Fields are
// counted behind the command's closing parenthesis, which may hold blanks.
int64_t process_start(int64_t process) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", process));
  const size_t end = line.rfind(')');
  if (end == std::string::npos) return -1;
  std::istringstream rest(line.substr(end + 1));
  std::string field;
  rest >> field;
  if (field == "Z" || field == "X") return -1;
  for (int i = 4; i <= 22; ++i) rest >> field;
  return field.empty() ? -1 : std::stoll(field);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text.data(), length};
}

std::string text_of(const LockOwner& owner) {
  const nlohmann::json json = {{"host", owner.host},
                               {"boot", owner.boot},
                               {"process_space", owner.process_space},
                               {"process", owner.process},
                               {"process_start", owner.process_start},
                               {"job", owner.job},
                               {"restart", owner.restart},
                               {"since", owner.since}};
  return json.dump() + "\n";
}

// nullopt when the text is torn.
std::optional<LockOwner> owner_of(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    return LockOwner{json.at("host"),    json.at("boot"),          json.at("process_space"),
                     json.at("process"), json.at("process_start"), json.at("job"),
                     json.at("restart"), json.at("since")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

double modified_s(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return -1;
  return static_cast<double>(status.st_mtim.tv_sec) +
         1e-9 * static_cast<double>(status.st_mtim.tv_nsec);
}

// Writes a file of this owner beside LOCK, whole and synced, to be linked into place.
std::string write_claim(const std::string& folder, const LockOwner& owner) {
  const std::string path = fmt::format("{}/.lock-{}", folder, unique_id().substr(0, 16));
  base::File file = base::File::create(path);
  const std::string text = text_of(owner);
  file.write_at(0, std::as_bytes(std::span(text)));
  file.sync();
  file.close();
  return path;
}

std::string describe(const std::string& path, const std::optional<LockOwner>& owner) {
  if (!owner) return fmt::format("{}, which cannot be read", path);
  return fmt::format("process {} on {}{} since {}", owner->process, owner->host,
                     owner->job.empty() ? "" : fmt::format(" (job {})", owner->job), owner->since);
}

}  // namespace

namespace {

// One starter at a time where the file system has flock(); where it has not, the steps of take()
// leave only a very small window in which two could both take over one stale lock.
class StartersGuard {
 public:
  explicit StartersGuard(const std::string& folder)
      : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (descriptor_ < 0) base::fail_errno("open", folder);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor_);
      base::fail_user("{}: another job is starting in this run folder at this moment.", folder);
    }
  }
  ~StartersGuard() { ::close(descriptor_); }
  StartersGuard(const StartersGuard&) = delete;
  StartersGuard& operator=(const StartersGuard&) = delete;

 private:
  int descriptor_;
};

}  // namespace

struct RunLock::Held {
  Held(std::string lock_path, LockOwner lock_owner, double every_s)
      : path(std::move(lock_path)), owner(std::move(lock_owner)), beat_s(every_s) {
    thread = std::thread([this] { beat(); });
  }
  ~Held() {
    {
      const std::lock_guard hold(mutex);
      ended = true;
    }
    wake.notify_all();
    thread.join();
    // What cannot be read now: the next owner finds a lock without a live owner.
    if (look() == State::kOurs) ::unlink(path.c_str());
  }

  enum class State { kOurs, kAnothers, kUnknown };
  // Who has the folder now, as LOCK says.
  State look() const {
    if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return State::kAnothers;
    try {
      return owner_of(base::read_text(path)) == owner ? State::kOurs : State::kAnothers;
    } catch (const std::exception&) {
      return State::kUnknown;
    }
  }

  void beat() {
    std::unique_lock hold(mutex);
    while (!wake.wait_for(hold, std::chrono::duration<double>(beat_s), [this] { return ended; })) {
      const State state = look();
      if (state == State::kAnothers) lost = true;
      if (state == State::kOurs) ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
    }
  }

  std::string path;
  LockOwner owner;
  std::string note;
  double beat_s;
  std::mutex mutex;
  std::condition_variable wake;
  bool ended = false;
  std::atomic<bool> lost = false;
  std::thread thread;
};

RunLock::RunLock(std::unique_ptr<Held> held) : held_(std::move(held)) {}
RunLock::~RunLock() = default;
RunLock::RunLock(RunLock&&) noexcept = default;
RunLock& RunLock::operator=(RunLock&&) noexcept = default;
const LockOwner& RunLock::owner() const { return held_->owner; }
const std::string& RunLock::note() const { return held_->note; }
bool RunLock::lost() const { return held_->lost; }

void RunLock::check() const {
  if (!held_->lost && held_->look() != Held::State::kAnothers) return;
  held_->lost = true;
  std::optional<LockOwner> now;
  try {
    now = owner_of(base::read_text(held_->path));
  } catch (const std::exception&) {
    now.reset();
  }
  base::fail_user(
      "{}: this run folder was taken over by {}, since this start was silent or its job was "
      "started again. Nothing more is written by it.",
      fs::path(held_->path).parent_path().string(),
      now ? describe(held_->path, now) : "another start");
}

LockOwner this_owner(const LockOptions& options) {
  LockOwner me;
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  me.host = host.data();
  me.boot = first_line("/proc/sys/kernel/random/boot_id");
  std::error_code ignored;
  me.process_space = fs::read_symlink("/proc/self/ns/pid", ignored).string();
  me.process = ::getpid();
  me.process_start = process_start(me.process);
  me.job = options.job;
  me.restart = options.restart;
  me.since = utc_now();
  return me;
}

std::string why_stale(const LockOwner& owner, const LockOwner& me, double silent_s,
                      const LockOptions& options) {
  if (!owner.job.empty() && owner.job == me.job && owner.restart < me.restart) {
    return fmt::format("it is start {} of this job, which is at start {}", owner.restart,
                       me.restart);
  }
  if (owner.host == me.host && owner.boot != me.boot) return "its host was restarted";
  if (owner.host == me.host && owner.process_space == me.process_space) {
    const int64_t start = process_start(owner.process);
    if (start < 0) return "its process has ended";
    if (start != owner.process_start) return "its process number belongs to another process now";
    return {};
  }
  if (silent_s > options.stale_s) {
    return fmt::format("it was silent for {:.0f} s", silent_s);
  }
  return {};
}

RunLock RunLock::take(const std::string& folder, const LockOptions& options) {
  const std::string path = folder + "/LOCK";
  const LockOwner me = this_owner(options);
  const StartersGuard guard(folder);
  const std::string claim = write_claim(folder, me);
  // The file server's clock, in which both times are taken.
  const double now = modified_s(claim);
  std::string note;
  // link() fails when LOCK exists, and shows it only with its whole text. A second attempt follows
  // a take-over; another starter may win it.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (::link(claim.c_str(), path.c_str()) == 0) {
      ::unlink(claim.c_str());
      base::sync_folder(folder);
      auto held = std::make_unique<Held>(path, me, options.beat_s);
      held->note = note;
      return RunLock(std::move(held));
    }
    if (errno != EEXIST) {
      const int code = errno;
      ::unlink(claim.c_str());
      errno = code;
      base::fail_errno("link", path);
    }
    std::optional<LockOwner> owner;
    std::string text;
    try {
      text = base::read_text(path);
      owner = owner_of(text);
    } catch (const base::UserError&) {
      continue;  // removed in between
    }
    const double silent_s = now - modified_s(path);
    const std::string stale = owner
                                  ? why_stale(*owner, me, silent_s, options)
                                  : (silent_s > options.stale_s ? "it is damaged and silent" : "");
    if (stale.empty()) {
      ::unlink(claim.c_str());
      base::fail_user(
          "{}: this run folder is in use by {} (last sign of life {:.0f} s ago). Wait for it to "
          "end, stop it, or choose another run.dir or run.name. If it no longer runs, remove {}.",
          folder, describe(path, owner), silent_s > 0 ? silent_s : 0.0, path);
    }
    // Moved aside, and looked at again: if another starter took it over in between, it goes back.
    const std::string aside = claim + "-old";
    if (::rename(path.c_str(), aside.c_str()) != 0) continue;
    if (base::read_text(aside) != text) {
      const int linked = ::link(aside.c_str(), path.c_str());
      ::unlink(aside.c_str());
      RONDO_CHECK(linked == 0 || errno == EEXIST, "{} could not be put back", path);
      continue;
    }
    ::unlink(aside.c_str());
    note = fmt::format("the lock of {} was taken over: {}", describe(path, owner), stale);
  }
  ::unlink(claim.c_str());
  base::fail_user("{}: another job is starting in this run folder at this moment.", folder);
}

}  // namespace rondo::storage

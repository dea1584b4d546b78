// One job at a time in a run folder.
//
// The file LOCK (made with O_EXCL) names host, process, job and start; a thread of its own touches
// it every few seconds while the owner lives. A lock whose owner is gone is taken over; an owner
// that was wrongly taken for gone finds that out before it writes (check).
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace rondo::storage {

// Who holds a lock, as LOCK says it (JSON).
struct LockOwner {
  std::string host;
  std::string boot;           // id of the host's boot
  std::string process_space;  // id of the namespace that the process number belongs to
  int64_t process = 0;
  int64_t process_start = 0;  // clock ticks after boot: tells a reused number from the owner
  std::string job;            // of the batch system, empty without one
  int64_t restart = 0;        // how often the batch system started this job again
  std::string since;          // for people: UTC

  bool operator==(const LockOwner&) const = default;
};

struct LockOptions {
  std::string job;       // SLURM_JOB_ID or the like
  int64_t restart = 0;   // SLURM_RESTART_COUNT or the like
  double beat_s = 5;     // between two touches
  double stale_s = 300;  // an owner that cannot be asked is gone when it was silent for so long
};

// Called on rank 0 alone; the others learn of a failure through Control.
class RunLock {
 public:
  // Takes the lock of `folder`, which must exist and be writable. UserError naming folder, host,
  // process and job when a running job holds it.
  // A lock is taken over when its owner is of this host and no longer runs (process gone, number
  // reused, host restarted), is an earlier start of this very job, or was silent for stale_s.
  static RunLock take(const std::string& folder, const LockOptions& options);
  // Removes LOCK when it is still this owner's.
  ~RunLock();
  RunLock(RunLock&&) noexcept;
  RunLock& operator=(RunLock&&) noexcept;

  const LockOwner& owner() const;
  // What was taken over, in words; empty when the folder was free.
  const std::string& note() const;

  // A fence, against an owner that was thought to be gone and is not: UserError when another has
  // taken the folder over (or LOCK is gone), from the moment it did. Called before anything in the
  // folder is changed; a new owner removes what is still unfinished, so that what was begun before
  // it came cannot be published after.
  void check() const;
  // The same from memory, as of the last touch.
  bool lost() const;

 private:
  struct Held;
  explicit RunLock(std::unique_ptr<Held> held);
  std::unique_ptr<Held> held_;
};

// The process that calls.
LockOwner this_owner(const LockOptions& options);
// Why `owner` can no longer be running, seen by `me`, after `silent_s` without a touch; empty when
// it may well be.
std::string why_stale(const LockOwner& owner, const LockOwner& me, double silent_s,
                      const LockOptions& options);

}  // namespace rondo::storage

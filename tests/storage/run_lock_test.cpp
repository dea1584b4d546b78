// Laws: at most one live owner of a run folder; an owner that is gone does not keep it.
#include "storage/run_lock.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/error.hpp"
#include "base/file.hpp"
#include "support/temp_folder.hpp"

namespace rondo::storage {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;
using ::testing::HasSubstr;

std::string refusal(const std::string& folder, const LockOptions& options = {}) {
  try {
    const RunLock lock = RunLock::take(folder, options);
  } catch (const base::UserError& error) {
    return error.what();
  }
  ADD_FAILURE() << "the lock was taken";
  return {};
}

// Puts a lock of another owner into the folder, as old as `age_s`.
void plant(const std::string& folder, const LockOwner& owner, int64_t age_s) {
  const std::string path = folder + "/LOCK";
  const nlohmann::json json = {{"host", owner.host},       {"boot", owner.boot},
                               {"process", owner.process}, {"process_space", owner.process_space},
                               {"job", owner.job},         {"process_start", owner.process_start},
                               {"since", owner.since},     {"restart", owner.restart}};
  base::write_text_durably(path, json.dump());
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  const timespec then{status.st_mtim.tv_sec - age_s, 0};
  const std::array<timespec, 2> times = {then, then};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times.data(), 0), 0);
}

TEST(RunLock, RefusesASecondOwnerAndNamesTheFirst) {
  const TempFolder folder;
  LockOptions options;
  options.job = "1234";
  {
    const RunLock lock = RunLock::take(folder.path(), options);
    EXPECT_EQ(lock.note(), "");
    const std::string text = refusal(folder.path());
    EXPECT_THAT(text, HasSubstr(folder.path()));
    EXPECT_THAT(
        text, HasSubstr(fmt::format("process {} on {} (job 1234)", ::getpid(), lock.owner().host)));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  const RunLock again = RunLock::take(folder.path(), options);
  EXPECT_EQ(again.note(), "");
}

TEST(RunLock, TakesOverFromAKilledProcess) {
  const TempFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    plant(folder.path(), this_owner({}), 0);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(fs::exists(folder / "LOCK"));
  const RunLock lock = RunLock::take(folder.path(), {});
  EXPECT_THAT(lock.note(), HasSubstr("its process has ended"));
  EXPECT_THAT(lock.note(), HasSubstr(fmt::format("process {}", child)));
}

TEST(RunLock, TakesOverFromAProcessThatEndedAndIsNotWaitedForYet) {
  const TempFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    plant(folder.path(), this_owner({}), 0);
    ::_exit(0);
  }
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_THAT(RunLock::take(folder.path(), {}).note(), HasSubstr("its process has ended"));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(RunLock, TakesOverFromAReusedProcessNumberAndFromBeforeARestart) {
  const TempFolder folder;
  LockOwner other = this_owner({});
  other.process_start -= 1;
  plant(folder.path(), other, 0);
  EXPECT_THAT(RunLock::take(folder.path(), {}).note(), HasSubstr("another process now"));
  other = this_owner({});
  other.boot = "another";
  plant(folder.path(), other, 0);
  EXPECT_THAT(RunLock::take(folder.path(), {}).note(), HasSubstr("was restarted"));
}

TEST(RunLock, AnotherHostIsTrustedUntilItIsSilent) {
  const TempFolder folder;
  LockOwner other = this_owner({});
  other.host = "node17";
  plant(folder.path(), other, 100);
  EXPECT_THAT(refusal(folder.path()), HasSubstr("on node17"));
  plant(folder.path(), other, 400);
  EXPECT_THAT(RunLock::take(folder.path(), {}).note(), HasSubstr("was silent for"));
}

TEST(RunLock, ARequeuedJobTakesOverFromItself) {
  const TempFolder folder;
  LockOwner other = this_owner({});
  other.host = "node17";
  other.job = "55";
  plant(folder.path(), other, 0);
  LockOptions options;
  options.job = "55";
  EXPECT_THAT(refusal(folder.path(), options), HasSubstr("job 55"));
  options.restart = 1;
  EXPECT_THAT(RunLock::take(folder.path(), options).note(), HasSubstr("start 0 of this job"));
}

TEST(RunLock, ATornLockIsTakenOverOnceItIsSilent) {
  const TempFolder folder;
  base::write_text_durably(folder / "LOCK", "{\"host\":");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("cannot be read"));
  LockOptions options;
  options.stale_s = -1;
  EXPECT_THAT(RunLock::take(folder.path(), options).note(), HasSubstr("damaged"));
}

TEST(RunLock, TouchesItsFileWhileHeld) {
  const TempFolder folder;
  LockOptions options;
  options.beat_s = 0.001;
  const RunLock lock = RunLock::take(folder.path(), options);
  const auto modified = [&] {
    struct stat status {};
    EXPECT_EQ(::stat((folder / "LOCK").c_str(), &status), 0);
    return status.st_mtim.tv_sec;
  };
  const std::array<timespec, 2> past = {timespec{1000, 0}, timespec{1000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder / "LOCK").c_str(), past.data(), 0), 0);
  while (modified() == 1000) std::this_thread::yield();
  EXPECT_GT(modified(), 1000);
}

TEST(RunLock, LeavesTheLockOfALaterOwnerAlone) {
  const TempFolder folder;
  LockOwner other = this_owner({});
  other.host = "node17";
  {
    const RunLock lock = RunLock::take(folder.path(), {});
    plant(folder.path(), other, 0);
  }
  EXPECT_TRUE(fs::exists(folder / "LOCK"));
}

TEST(RunLock, AnOwnerThatWasTakenOverFindsItOutBeforeItWrites) {
  const TempFolder folder;
  LockOptions options;
  options.job = "77";
  options.beat_s = 0.01;
  const RunLock orphan = RunLock::take(folder.path(), options);
  EXPECT_NO_THROW(orphan.check());
  EXPECT_FALSE(orphan.lost());
  options.restart = 1;
  const RunLock next = RunLock::take(folder.path(), options);
  EXPECT_NO_THROW(next.check());
  try {
    orphan.check();
    ADD_FAILURE() << "the orphan may go on";
  } catch (const base::UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("was taken over by process"));
    EXPECT_THAT(error.what(), HasSubstr("(job 77)"));
  }
  EXPECT_TRUE(orphan.lost());
  EXPECT_NO_THROW(next.check());
}

TEST(RunLock, ALockThatIsGoneIsLost) {
  const TempFolder folder;
  LockOptions options;
  options.beat_s = 0.01;
  const RunLock lock = RunLock::take(folder.path(), options);
  fs::remove(folder / "LOCK");
  while (!lock.lost()) std::this_thread::yield();  // found by the thread that touches it
  EXPECT_THROW(lock.check(), base::UserError);
}

TEST(RunLock, OfManyStartersExactlyOneWins) {
  for (int round = 0; round < 20; ++round) {
    const TempFolder folder;
    LockOwner gone = this_owner({});
    gone.process_start -= 1;
    if (round % 2 == 0) plant(folder.path(), gone, 0);
    std::atomic<int> winners{0};
    std::atomic<int> tried{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        std::optional<RunLock> lock;
        try {
          lock.emplace(RunLock::take(folder.path(), {}));
          ++winners;
        } catch (const base::UserError&) {
        }
        ++tried;
        while (tried < 4) std::this_thread::yield();
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners, 1);
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
}

}  // namespace
}  // namespace rondo::storage

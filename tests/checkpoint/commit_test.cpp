// Laws: a failure at any point of a save, on any rank, leaves every rank with the same kind of
// error and the folder with the old checkpoint or the new one, whole, never a mixture.
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <mutex>

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/toy.hpp"
#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;
using checkpoint::Verify;
using comm::Control;
using comm::Group;
using comm::LocalWorld;

std::optional<Checkpoint> newest(const std::string& folder, Control& control) {
  base::Console console(false);
  return Checkpoint::open_newest(folder, control, console, Verify::kFull);
}

int64_t temporaries(const std::string& folder) {
  int64_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().ends_with(".tmp")) ++count;
  }
  return count;
}

TEST(Commit, AFailureAtAnyPointOnAnyRankLeavesOldOrNew) {
  for (const std::string point : {"reserved", "snapshot", "half_written", "shard_written", "voted",
                                  "manifest_written", "renamed", "latest_written"}) {
    for (const int failing : {0, 1, 2}) {
      const TempFolder folder;
      LocalWorld::run(3, [&](Group&, Control& control) {
        save_toy(folder.path(), 1, control, 1);
        const Toy toy(control.rank(), 3, 8, 2);
        auto request = toy.request(folder.path(), 2);
        request.fault = [&](std::string_view at) {
          if (at == point && control.rank() == failing) throw base::SystemError("injected");
        };
        const std::string text = message_of<base::SystemError>([&] { save(request, control); });
        EXPECT_THAT(text, ::testing::HasSubstr("injected"));
        EXPECT_THAT(text, ::testing::HasSubstr(fmt::format("rank {}", failing)));
        const bool renamed = point == "renamed" || point == "latest_written";
        const auto found = newest(folder.path(), control);
        ASSERT_TRUE(found.has_value());
        EXPECT_EQ(found->step(), renamed ? 2 : 1) << point;
        EXPECT_EQ(wrong_elements(*found, renamed ? 2 : 1), 0);
        control.barrier();
        EXPECT_EQ(temporaries(folder.path()), 0);
        // The next save works, of the same name where it was not published.
        if (!renamed) {
          request.fault = {};
          save(request, control);
          EXPECT_EQ(wrong_elements(*newest(folder.path(), control), 2), 0);
        }
      });
    }
  }
}

TEST(Commit, SavesOverLeftoversOfAKilledSave) {
  const TempFolder folder;
  fs::create_directories(folder / "step-00000001.deadbeef.tmp");
  base::write_text_durably(folder / "step-00000001.deadbeef.tmp/shard-0000.h5", "half");
  fs::create_directories(folder / "step-00000002.deadbeef.tmp");
  LocalWorld::run(2, [&](Group&, Control& control) {
    EXPECT_FALSE(newest(folder.path(), control).has_value());
    save_toy(folder.path(), 1, control);
    EXPECT_EQ(wrong_elements(*newest(folder.path(), control)), 0);
  });
  EXPECT_FALSE(fs::exists(folder / "step-00000001.deadbeef.tmp"));
  EXPECT_TRUE(fs::exists(folder / "step-00000002.deadbeef.tmp"));
}

TEST(Commit, LatestIsOnlyAHint) {
  const TempFolder folder;
  LocalWorld::run(1, [&](Group&, Control& control) {
    save_toy(folder.path(), 1, control, 1);
    save_toy(folder.path(), 2, control, 2);
    EXPECT_EQ(base::read_text(folder / "LATEST"), "step-00000002\n");
    const auto still_found = [&] {
      const auto found = newest(folder.path(), control);
      EXPECT_TRUE(found.has_value() && found->step() == 2);
      EXPECT_TRUE(found.has_value() && wrong_elements(*found, 2) == 0);
    };
    for (const std::string& text :
         {std::string(), std::string("\xff\x00\x01", 3), std::string("99999999999999999999"),
          std::string("step-00000001\n"), std::string("step-00000077\n")}) {
      base::write_text_durably(folder / "LATEST", text);
      still_found();
    }
    fs::remove(folder / "LATEST");
    still_found();
    fs::create_symlink("LATEST", folder / "LATEST");  // a loop
    still_found();
    fs::remove(folder / "LATEST");
    fs::create_directory(folder / "LATEST");
    EXPECT_EQ(newest(folder.path(), control)->step(), 2);
  });
}

// The limit stands for a full disk: writes beyond it fail.
TEST(Commit, AFullDiskFailsOnAllRanksAndKeepsThePrevious) {
  const TempFolder folder;
  const std::vector<checkpoint::LogicalTensor> tensors = {{"big", {1024, 1024}}};
  const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  LocalWorld::run(2, [&](Group&, Control& control) {
    save_toy(folder.path(), 1, control);
    const Toy toy(control.rank(), 2, 1, 2, tensors);
    control.on_first([&] {
      rlimit limit = before;
      limit.rlim_cur = 300000;
      if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) base::fail_errno("setrlimit", "");
    });
    message_of<base::SystemError>([&] { save(toy.request(folder.path(), 2), control); });
    control.on_first([&] {
      if (::setrlimit(RLIMIT_FSIZE, &before) != 0) base::fail_errno("setrlimit", "");
    });
    const auto found = newest(folder.path(), control);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->step(), 1);
    EXPECT_EQ(wrong_elements(*found), 0);
    save(toy.request(folder.path(), 2), control);
    EXPECT_EQ(newest(folder.path(), control)->step(), 2);
  });
  ::signal(SIGXFSZ, ignored);
  EXPECT_EQ(temporaries(folder.path()), 0);
}

}  // namespace
}  // namespace rondo::test

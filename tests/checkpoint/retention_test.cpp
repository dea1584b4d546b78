// Laws: the newest k and the pinned stay; dropping tensors keeps the others to the bit and never
// leaves a moment without the checkpoint; what earlier processes left is cleaned.
#include <filesystem>
#include <set>

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

std::set<std::string> names(const std::string& folder) {
  std::set<std::string> all;
  for (const auto& entry : fs::directory_iterator(folder)) {
    all.insert(entry.path().filename().string());
  }
  return all;
}

TEST(Retention, KeepsTheNewestAndThePinned) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) {
    for (int64_t step = 1; step <= 6; ++step) save_toy(folder.path(), step, control);
    control.on_first([&] {
      fs::create_directory(folder / "notes");  // not a checkpoint: stays
      base::Console console(false);
      const auto aside =
          checkpoint::retain(folder.path(), 2, {"step-00000001", "step-00000006"}, console);
      EXPECT_EQ(aside.size(), 2U);
      for (const std::string& path : aside) checkpoint::delete_folder(path);
    });
  });
  EXPECT_EQ(names(folder.path()),
            (std::set<std::string>{"LATEST", "notes", "step-00000001", "step-00000004",
                                   "step-00000005", "step-00000006"}));
  const auto listed = checkpoint::list(folder.path());
  ASSERT_EQ(listed.size(), 4U);
  EXPECT_EQ(listed[0].step, 6);
  EXPECT_EQ(listed[3].step, 1);
  EXPECT_GT(listed[3].bytes, 4 * 37 * 8 * 3);
  fs::remove(folder / "step-00000004/MANIFEST.json");
  EXPECT_EQ(checkpoint::list(folder.path())[0].name, "step-00000004");
  EXPECT_THAT(checkpoint::list(folder.path())[0].damage, ::testing::HasSubstr("MANIFEST.json"));
  EXPECT_TRUE(checkpoint::list(folder / "missing").empty());
}

TEST(Retention, DropTensorsKeepsTheOthersToTheBit) {
  const TempFolder folder;
  const auto wanted = [](const std::string& name) { return !name.starts_with("optimizer/"); };
  LocalWorld::run(3, [&](Group&, Control& control) {
    save_toy(folder.path(), 1, control);
    save_toy(folder.path(), 2, control, 2);
    checkpoint::drop_tensors(folder.path(), "step-00000001", wanted, {{"has_optimizer", false}},
                             control);
    const Checkpoint reduced = Checkpoint::open(folder / "step-00000001", control, Verify::kFull);
    EXPECT_EQ(reduced.tensors().size(), 5U);
    EXPECT_EQ(wrong_elements(reduced, 1), 0);
    EXPECT_EQ(reduced.step(), 1);
    EXPECT_EQ(reduced.state().at("has_optimizer"), false);
  });
  EXPECT_EQ(names(folder.path()),
            (std::set<std::string>{"LATEST", "step-00000001", "step-00000002"}));
  EXPECT_EQ(base::read_text(folder / "LATEST"), "step-00000002\n");
}

TEST(Retention, AFailedDropLeavesTheOldOne) {
  const auto wanted = [](const std::string& name) { return name == "one"; };
  for (const std::string point : {"reserved", "shard_written", "manifest_written", "moved_away"}) {
    const TempFolder folder;
    LocalWorld::run(2, [&](Group&, Control& control) {
      save_toy(folder.path(), 1, control);
      message_of<base::SystemError>([&] {
        checkpoint::drop_tensors(folder.path(), "step-00000001", wanted, nlohmann::json::object(),
                                 control, [&](std::string_view at) {
                                   if (at == point) throw base::SystemError("injected");
                                 });
      });
      const Checkpoint old = Checkpoint::open(folder / "step-00000001", control, Verify::kFull);
      EXPECT_EQ(old.tensors().size(), toy_tensors().size());
      EXPECT_EQ(wrong_elements(old), 0);
    });
    EXPECT_EQ(names(folder.path()), (std::set<std::string>{"LATEST", "step-00000001"})) << point;
  }
}

TEST(Retention, DropTensorsRefusesADamagedOne) {
  const TempFolder folder;
  LocalWorld::run(2, [&](Group&, Control& control) {
    save_toy(folder.path(), 1, control);
    control.on_first([&] { fs::remove(folder / "step-00000001/shard-0001.h5"); });
    message_of<base::UserError>([&] {
      checkpoint::drop_tensors(
          folder.path(), "step-00000001", [](const std::string&) { return true; },
          nlohmann::json::object(), control);
    });
  });
}

TEST(Retention, CleanFinishesWhatWasInterrupted) {
  const TempFolder folder;
  LocalWorld::run(1, [&](Group&, Control& control) {
    save_toy(folder.path(), 1, control);
    save_toy(folder.path(), 2, control);
  });
  base::Console console(false);
  // Killed between the two renames of a drop: the old one is put back.
  fs::rename(folder / "step-00000001", folder / ".replaced-step-00000001");
  fs::create_directory(folder / "step-00000001.12345678.tmp");
  // Killed after them: what was replaced goes.
  fs::copy(folder / "step-00000002", folder / ".replaced-step-00000002");
  fs::create_directory(folder / ".trash-step-00000000-12345678");
  base::write_text_durably(folder / ".trash-step-00000000-12345678/x", "x");
  base::write_text_durably(folder / "LATEST.tmp", "x");
  checkpoint::clean(folder.path(), console);
  EXPECT_EQ(names(folder.path()),
            (std::set<std::string>{"LATEST", "step-00000001", "step-00000002"}));
  checkpoint::clean(folder / "missing", console);
}

}  // namespace
}  // namespace rondo::test

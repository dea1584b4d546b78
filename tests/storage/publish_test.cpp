// Laws: under its final name a folder is whole or absent; what cannot be written to is said so.
#include "storage/publish.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"
#include "support/temp_folder.hpp"

namespace rondo::storage {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;
using ::testing::HasSubstr;

template <class Error, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(FolderPublisher, ShowsTheFolderOnlyWhenCommitted) {
  const TempFolder folder;
  const std::string target = folder / "a/b/result";
  {
    FolderPublisher publisher(target);
    base::write_text_durably(publisher.path() + "/one", "1");
    fs::create_directory(publisher.path() + "/inner");
    base::write_text_durably(publisher.path() + "/inner/two", "2");
    EXPECT_FALSE(fs::exists(target));
    publisher.commit();
    EXPECT_FALSE(fs::exists(publisher.path()));
  }
  EXPECT_EQ(base::read_text(target + "/one"), "1");
  EXPECT_EQ(base::read_text(target + "/inner/two"), "2");
}

TEST(FolderPublisher, LeavesNothingWhenNotCommitted) {
  const TempFolder folder;
  {
    const FolderPublisher publisher(folder / "result");
    base::write_text_durably(publisher.path() + "/one", "1");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(FolderPublisher, LeftoversOfATargetAreRemovedAndThoseOfOthersStay) {
  const TempFolder folder;
  for (const char* name : {"a.deadbeef.tmp", "a.b.deadbeef.tmp", "a.tmp", "a"}) {
    fs::create_directory(folder / name);
  }
  remove_leftovers(folder / "a");
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    left.insert(entry.path().filename().string());
  }
  EXPECT_EQ(left, (std::set<std::string>{"a.b.deadbeef.tmp", "a.tmp", "a"}));
  remove_leftovers(folder / "nowhere/a");
}

TEST(FolderPublisher, NeverOverwrites) {
  const TempFolder folder;
  fs::create_directory(folder / "result");
  EXPECT_THAT(message_of<base::UserError>([&] { FolderPublisher publisher(folder / "result"); }),
              HasSubstr("exists already"));
  FolderPublisher publisher(folder / "result", Existing::kMovedByCaller);
  EXPECT_THAT(message_of<base::UserError>([&] { publisher.commit(); }),
              HasSubstr("came into being"));
  rename_durably(folder / "result", folder / "old");
  publisher.commit();
  EXPECT_TRUE(fs::exists(folder / "result"));
}

TEST(FolderPublisher, SaysWhenTheParentIsAFile) {
  const TempFolder folder;
  base::write_text_durably(folder / "file", "x");
  EXPECT_THAT(message_of<base::SystemError>([&] { FolderPublisher p(folder / "file/result"); }),
              HasSubstr("mkdir"));
}

TEST(CheckWritable, MakesTheFolderAndLeavesNothing) {
  const TempFolder folder;
  check_writable(folder / "new/run");
  EXPECT_TRUE(fs::is_empty(folder / "new/run"));
}

TEST(CheckWritable, NamesWhatIsInTheWay) {
  const TempFolder folder;
  base::write_text_durably(folder / "file", "x");
  EXPECT_THAT(message_of<base::UserError>([&] { check_writable(folder / "file"); }),
              HasSubstr("file: cannot be made a folder"));
  EXPECT_THAT(message_of<base::UserError>([&] { check_writable("/proc"); }),
              HasSubstr("/proc: cannot be written to"));
}

TEST(CheckFreeSpace, ComparesWithWhatIsThere) {
  const TempFolder folder;
  check_free_space(folder.path(), 1);
  EXPECT_THAT(
      message_of<base::SystemError>([&] { check_free_space(folder.path(), int64_t{1} << 60); }),
      HasSubstr("not enough space"));
}

TEST(UniqueId, Differs) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(unique_id());
  EXPECT_EQ(ids.size(), 1000U);
}

}  // namespace
}  // namespace rondo::storage

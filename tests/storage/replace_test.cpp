#include "storage/replace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "support/temp_folder.hpp"

namespace rondo::storage {
namespace {

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

TEST(ReplaceHdf5, TheNewFileTakesTheNameOfTheOld) {
  const test::TempFolder folder;
  const std::string path = folder / "a.h5";
  for (const int64_t number : {1, 2}) {
    replace_hdf5(path, [&](Hdf5File& file) { file.set_attribute("number", number); });
    EXPECT_EQ(Hdf5File::open_read(path).int_attribute("number"), number);
    EXPECT_THAT(files_in(folder.path()), testing::ElementsAre("a.h5"));
  }
}

TEST(ReplaceHdf5, WhatFillThrowsLeavesTheOldFileAlone) {
  const test::TempFolder folder;
  const std::string path = folder / "a.h5";
  replace_hdf5(path, [&](Hdf5File& file) { file.set_attribute("number", int64_t{1}); });
  const auto failing = [](Hdf5File& file) {
    file.set_attribute("number", int64_t{2});
    base::fail_user("no more");
  };
  EXPECT_THROW(replace_hdf5(path, failing), base::UserError);
  EXPECT_EQ(Hdf5File::open_read(path).int_attribute("number"), 1);
  EXPECT_THAT(files_in(folder.path()), testing::ElementsAre("a.h5"));
}

TEST(ReplaceHdf5, NamesOfAGroupAreThoseWrittenInIt) {
  const test::TempFolder folder;
  const std::string path = folder / "a.h5";
  replace_hdf5(path, [&](Hdf5File& file) {
    for (const char* name : {"group/b", "group/a", "c"}) {
      file.write_all(name, std::vector<float>{1});
    }
  });
  const Hdf5File file = Hdf5File::open_read(path);
  EXPECT_THAT(file.names("group"), testing::ElementsAre("a", "b"));
  EXPECT_THAT(file.names("none"), testing::IsEmpty());
  EXPECT_THROW(file.names("c"), base::UserError);
}

}  // namespace
}  // namespace rondo::storage

#include "data/scores_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "support/temp_folder.hpp"

namespace rondo::data {
namespace {

using testing::HasSubstr;

class ScoresFileTest : public testing::Test {
 protected:
  ScoreColumns read() const { return read_scores(path_); }
  // The number of an example in a column of the file.
  float at(const std::string& name, uint64_t id) const {
    const ScoreColumns columns = read();
    const auto row = std::ranges::find(columns.example_id, id) - columns.example_id.begin();
    return columns.values.at(name).at(static_cast<size_t>(row));
  }
  test::TempFolder folder_;
  const std::string path_ = folder_ / "in.scores.h5";
};

TEST_F(ScoresFileTest, WhatIsWrittenIsRead) {
  const ScoreColumns columns = {
      .example_id = {7, 5}, .values = {{"loss", {1, 2}}}, .made = {{"loss", {{"model", "m"}}}}};
  merge_scores(path_, columns);
  EXPECT_EQ(read().example_id, columns.example_id);
  EXPECT_EQ(read().values, columns.values);
  EXPECT_EQ(read().made, columns.made);
  const auto bytes = std::filesystem::file_size(path_);
  merge_scores(path_, columns);
  EXPECT_EQ(std::filesystem::file_size(path_), bytes);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1)
      << "a temporary file is left";
}

TEST_F(ScoresFileTest, OtherColumnsStayAndTheSameAreReplaced) {
  merge_scores(path_, {.example_id = {1, 2, 3},
                       .values = {{"loss", {1, 2, 3}}, {"mine", {10, 20, 30}}},
                       .made = {{"loss", "a"}, {"mine", "b"}}});
  merge_scores(path_, {.example_id = {4, 3, 2},
                       .values = {{"loss", {0.4F, 0.3F, 0.2F}}, {"ifd", {4, 3, 2}}},
                       .made = {{"ifd", "c"}}});
  EXPECT_EQ(at("loss", 3), 0.3F);
  EXPECT_EQ(at("loss", 4), 0.4F);
  EXPECT_TRUE(std::isnan(at("loss", 1))) << "of another run than the rest of its column";
  EXPECT_EQ(at("mine", 1), 10);
  EXPECT_EQ(at("mine", 3), 30);
  EXPECT_TRUE(std::isnan(at("mine", 4)));
  EXPECT_EQ(at("ifd", 2), 2);
  EXPECT_TRUE(std::isnan(at("ifd", 1)));
  EXPECT_EQ(read().made, (nlohmann::json{{"ifd", "c"}, {"mine", "b"}}));
}

TEST_F(ScoresFileTest, AFileOfAnotherKindIsNotReplaced) {
  auto file = storage::Hdf5File::create(path_);
  file.set_attribute("format", "rondo.tokenized");
  file.close();
  EXPECT_THAT(
      [&] {
        merge_scores(path_, {.example_id = {1}, .values = {{"loss", {1}}}});
      },
      testing::ThrowsMessage<base::UserError>(HasSubstr("rondo.scores of version 1")));
  EXPECT_EQ(storage::Hdf5File::open_read(path_).text_attribute("format"), "rondo.tokenized");
}

}  // namespace
}  // namespace rondo::data

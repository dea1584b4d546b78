#include "storage/hdf5.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "base/error.hpp"
#include "base/file.hpp"
#include "support/temp_folder.hpp"

namespace rondo::storage {
namespace {

using test::TempFolder;
using testing::AllOf;
using testing::HasSubstr;

// What `body` says when it throws a UserError, or a note that it did not.
template <class Body>
std::string user_error(const Body& body) {
  try {
    body();
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no UserError was thrown";
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A file with every type that rondo stores.
std::string make_file(const TempFolder& folder) {
  const std::string path = folder / "all.h5";
  Hdf5File file = Hdf5File::create(path);
  file.set_attribute("format", "rondo.test");
  file.set_attribute("version", int64_t{7});
  file.write_all<uint8_t>("u8", {1, 2, 255});
  file.write_all<uint16_t>("u16", {1, 65535});
  file.write_all<uint32_t>("u32", {1, 4294967295U});
  file.write_all<int32_t>("i32", {-1, 2, 3});
  file.write_all<int64_t>("i64", {-1, int64_t{1} << 62});
  file.write_all<uint64_t>("u64", {~uint64_t{0}});
  file.write_all<float>("f32", {0.5F, -2.0F});
  file.write_all<int32_t>("nothing", {});
  file.close();
  return path;
}

TEST(Hdf5File, ReadsBackWhatItWrote) {
  const TempFolder folder;
  const Hdf5File file = Hdf5File::open_read(make_file(folder));
  EXPECT_EQ(file.text_attribute("format"), "rondo.test");
  EXPECT_EQ(file.int_attribute("version"), 7);
  EXPECT_EQ(file.read_all<uint8_t>("u8"), (std::vector<uint8_t>{1, 2, 255}));
  EXPECT_EQ(file.read_all<uint16_t>("u16"), (std::vector<uint16_t>{1, 65535}));
  EXPECT_EQ(file.read_all<uint32_t>("u32"), (std::vector<uint32_t>{1, 4294967295U}));
  EXPECT_EQ(file.read_all<int32_t>("i32"), (std::vector<int32_t>{-1, 2, 3}));
  EXPECT_EQ(file.read_all<int64_t>("i64"), (std::vector<int64_t>{-1, int64_t{1} << 62}));
  EXPECT_EQ(file.read_all<uint64_t>("u64"), (std::vector<uint64_t>{~uint64_t{0}}));
  EXPECT_EQ(file.read_all<float>("f32"), (std::vector<float>{0.5F, -2.0F}));
  EXPECT_TRUE(file.read_all<int32_t>("nothing").empty());
  EXPECT_TRUE(file.has("u8"));
  EXPECT_FALSE(file.has("u9"));
  EXPECT_FALSE(file.has("no/such/group"));
}

TEST(Hdf5File, MakesTheSameBytesForTheSameCalls) {
  const TempFolder first;
  const TempFolder second;
  EXPECT_EQ(base::read_text(make_file(first)), base::read_text(make_file(second)));
}

TEST(Hdf5File, PreallocatesDatasetsForWritesByOffset) {
  const TempFolder folder;
  const std::string path = folder / "offsets.h5";
  Hdf5File file = Hdf5File::create(path);
  const int64_t small = file.create_dataset("small", Type::kInt32, {3});
  const int64_t at = file.create_dataset("group/rows", Type::kInt32, {1000, 5});
  const int64_t last = file.create_dataset("last", Type::kFloat32, {4096});
  file.close();
  EXPECT_GT(small, 0);
  EXPECT_EQ(at % 4096, 0);
  EXPECT_EQ(last % 4096, 0);

  std::vector<int32_t> values(5000);
  std::iota(values.begin(), values.end(), 0);
  base::File raw = base::File::open_write(path);
  raw.write_at(at, std::as_bytes(std::span(values)));
  raw.close();

  const Hdf5File back = Hdf5File::open_read(path);
  EXPECT_EQ(back.expect("group/rows", Type::kInt32, 2), (std::vector<int64_t>{1000, 5}));
  std::vector<int32_t> rows(10);
  back.read_rows<int32_t>("group/rows", 998, 2, rows.data());
  EXPECT_EQ(rows, std::vector<int32_t>(values.end() - 10, values.end()));
  back.read_rows<int32_t>("group/rows", 1000, 0, rows.data());
  EXPECT_THAT(user_error([&] { back.read_rows<int32_t>("group/rows", 999, 2, rows.data()); }),
              AllOf(HasSubstr(path), HasSubstr("group/rows"), HasSubstr("1000 rows")));
}

TEST(Hdf5File, ReadsFixedLengthTextAndRefusesOtherTypesOfAttributes) {
  const TempFolder folder;
  const std::string path = folder / "attributes.h5";
  Hdf5File::create(path).close();
  {
    const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const std::array<std::pair<const char*, H5T_str_t>, 3> forms = {
        {{"terminated", H5T_STR_NULLTERM},
         {"padded", H5T_STR_NULLPAD},
         {"spaced", H5T_STR_SPACEPAD}}};
    for (const auto& [name, padding] : forms) {
      const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
      H5Tset_size(type.get(), 6);
      H5Tset_strpad(type.get(), padding);
      const char* value = padding == H5T_STR_SPACEPAD ? "abc   " : "abc\0\0\0";
      const Handle attribute(
          H5Acreate2(file.get(), name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
          H5Aclose);
      ASSERT_GE(H5Awrite(attribute.get(), type.get(), value), 0);
    }
    const int32_t narrow = 5;
    const Handle attribute(
        H5Acreate2(file.get(), "narrow", H5T_STD_I32LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    ASSERT_GE(H5Awrite(attribute.get(), H5T_STD_I32LE, &narrow), 0);
  }
  const Hdf5File file = Hdf5File::open_read(path);
  EXPECT_EQ(file.text_attribute("terminated"), "abc");
  EXPECT_EQ(file.text_attribute("padded"), "abc");
  EXPECT_EQ(file.text_attribute("spaced"), "abc");
  EXPECT_THAT(user_error([&] { file.int_attribute("narrow"); }),
              AllOf(HasSubstr("int32"), HasSubstr("int64 was expected")));
  EXPECT_THAT(user_error([&] { file.text_attribute("narrow"); }), HasSubstr("text was expected"));
  EXPECT_THAT(user_error([&] { file.text_attribute("none"); }),
              AllOf(HasSubstr(path), HasSubstr("none is missing")));
}

TEST(Hdf5File, RefusesEveryOtherType) {
  const TempFolder folder;
  const std::string path = make_file(folder);
  const Hdf5File file = Hdf5File::open_read(path);
  EXPECT_THAT(user_error([&] { file.read_all<int32_t>("i64"); }),
              AllOf(HasSubstr(path), HasSubstr("i64"), HasSubstr("wrong dtype"),
                    HasSubstr("int64 found, int32 expected")));
  EXPECT_THAT(user_error([&] { file.read_all<int32_t>("u32"); }),
              HasSubstr("uint32 found, int32 expected"));
  EXPECT_THAT(user_error([&] { file.read_all<float>("i32"); }),
              HasSubstr("int32 found, float32 expected"));
  EXPECT_THAT(user_error([&] { file.expect("i32", Type::kInt32, 2); }),
              HasSubstr("2 dimensions were expected"));
  EXPECT_THAT(user_error([&] { file.expect("absent", Type::kInt32, 1); }),
              HasSubstr("dataset absent is missing"));
}

TEST(Hdf5File, RefusesBigEndianFilteredAndUnwrittenDatasets) {
  const TempFolder folder;
  const std::string path = folder / "odd.h5";
  Hdf5File::create(path).close();
  {
    const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const hsize_t size = 64;
    const Handle space(H5Screate_simple(1, &size, nullptr), H5Sclose);
    const Handle big(H5Dcreate2(file.get(), "big", H5T_STD_I32BE, space.get(), H5P_DEFAULT,
                                H5P_DEFAULT, H5P_DEFAULT),
                     H5Dclose);
    const Handle late(H5Dcreate2(file.get(), "late", H5T_STD_I32LE, space.get(), H5P_DEFAULT,
                                 H5P_DEFAULT, H5P_DEFAULT),
                      H5Dclose);
    const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(properties.get(), 1, &size);
    const Handle chunked(H5Dcreate2(file.get(), "chunked", H5T_STD_I32LE, space.get(), H5P_DEFAULT,
                                    properties.get(), H5P_DEFAULT),
                         H5Dclose);
    std::vector<int32_t> values(64);
    std::iota(values.begin(), values.end(), 0);
    H5Dwrite(chunked.get(), H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Pset_fletcher32(properties.get());
    const Handle filtered(H5Dcreate2(file.get(), "filtered", H5T_STD_I32LE, space.get(),
                                     H5P_DEFAULT, properties.get(), H5P_DEFAULT),
                          H5Dclose);
  }
  const Hdf5File file = Hdf5File::open_read(path);
  EXPECT_EQ(file.read_all<int32_t>("chunked").at(63), 63);
  EXPECT_THAT(user_error([&] { file.read_all<int32_t>("big"); }), HasSubstr("big-endian"));
  EXPECT_THAT(user_error([&] { file.read_all<int32_t>("filtered"); }), HasSubstr("filter"));
  EXPECT_THAT(user_error([&] { file.read_all<int32_t>("late"); }), HasSubstr("not stored in full"));
}

TEST(Hdf5File, RefusesLinksToOtherFiles) {
  const TempFolder folder;
  const std::string other = make_file(folder);
  const std::string path = folder / "links.h5";
  Hdf5File::create(path).close();
  {
    const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    H5Lcreate_external(other.c_str(), "i32", file.get(), "out", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external(other.c_str(), "/", file.get(), "root", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("root/i32", file.get(), "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("soft", file.get(), "itself", H5P_DEFAULT, H5P_DEFAULT);
  }
  const Hdf5File file = Hdf5File::open_read(path);
  for (const char* name : {"out", "soft", "itself"}) {
    EXPECT_THAT(user_error([&] { file.read_all<int32_t>(name); }),
                AllOf(HasSubstr(name), HasSubstr("is a link to another file")));
  }
  EXPECT_THAT(user_error([&] { file.read_all<int32_t>("root/i32"); }), HasSubstr("is missing"));
}

// A dataset whose extent and size were changed alike, to something larger than the file.
TEST(Hdf5File, HoldsSizesAgainstTheFile) {
  const TempFolder folder;
  const std::string path = folder / "large.h5";
  Hdf5File made = Hdf5File::create(path);
  made.write_all("values", std::vector<uint8_t>(1234));
  made.close();
  std::string bytes = base::read_text(path);
  const auto number = [](uint64_t value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  int changed = 0;
  for (size_t at; (at = bytes.find(number(1234))) != std::string::npos; ++changed) {
    bytes.replace(at, 8, number(uint64_t{1} << 62));
  }
  EXPECT_GE(changed, 2);
  write_text(path, bytes);
  EXPECT_THAT(user_error([&] { Hdf5File::open_read(path).read_all<uint8_t>("values"); }),
              HasSubstr("not stored in full"));
}

TEST(Hdf5File, SaysWhatAnUnusableFileIs) {
  const TempFolder folder;
  const auto open = [&](const std::string& name) {
    return user_error([&] { Hdf5File::open_read(folder / name); });
  };
  EXPECT_THAT(open("missing.h5"), AllOf(HasSubstr("missing.h5"), HasSubstr("No such file")));
  EXPECT_THAT(open(""), HasSubstr("is a folder"));
  write_text(folder / "empty.h5", "");
  EXPECT_THAT(open("empty.h5"), HasSubstr("is empty"));
  write_text(folder / "pointer.h5",
             "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n");
  EXPECT_THAT(open("pointer.h5"), AllOf(HasSubstr("Git LFS pointer"), HasSubstr("git lfs pull")));
  write_text(folder / "text.h5", std::string(5000, 'x'));
  EXPECT_THAT(open("text.h5"), HasSubstr("not an HDF5 file"));
}

TEST(Hdf5File, NeverReadsATruncatedFile) {
  const TempFolder folder;
  const std::string whole = base::read_text(make_file(folder));
  for (const size_t size :
       {9UL, 40UL, 60UL, 96UL, 200UL, 2048UL, whole.size() / 2, whole.size() - 1}) {
    write_text(folder / "cut.h5", whole.substr(0, size));
    const std::string said = user_error([&] { Hdf5File::open_read(folder / "cut.h5"); });
    EXPECT_THAT(said, HasSubstr("cut.h5")) << size;
    if (size >= 60) {
      EXPECT_THAT(said, AllOf(HasSubstr("truncated"), HasSubstr(std::to_string(size)),
                              HasSubstr(std::to_string(whole.size()))));
    }
  }
}

TEST(Hdf5File, MapsFlatRangesOfOtherFilesOntoOneArray) {
  const TempFolder folder;
  const std::vector<int64_t> shape = {4, 3, 5};
  std::vector<float> whole(60);
  std::iota(whole.begin(), whole.end(), 0.0F);
  // Cuts that begin and end in the middle of rows; elements 50 to 53 are mapped by no piece.
  const std::vector<std::pair<int64_t, int64_t>> ranges = {
      {0, 7}, {7, 8}, {8, 41}, {41, 50}, {53, 60}};
  std::vector<Hdf5File::VirtualPiece> pieces;
  for (const auto& [begin, end] : ranges) {
    const std::string name = fmt::format("part-{}.h5", begin);
    std::vector<float> values(2, -1.0F);
    values.insert(values.end(), whole.begin() + begin, whole.begin() + end);
    Hdf5File part = Hdf5File::create(folder / name);
    part.write_all<float>("flat", values);
    part.close();
    pieces.push_back(
        {name, "flat", 2, static_cast<int64_t>(values.size()), base::Slice{begin, end}});
  }
  Hdf5File file = Hdf5File::create(folder / "logical.h5");
  file.create_virtual("model.weight", shape, pieces);
  file.close();

  const Handle back(H5Fopen((folder / "logical.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                    H5Fclose);
  const Handle dataset(H5Dopen2(back.get(), "model.weight", H5P_DEFAULT), H5Dclose);
  std::vector<float> values(60, -2.0F);
  ASSERT_GE(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
            0);
  for (size_t i = 0; i < 60; ++i) {
    if (i >= 50 && i < 53) {
      EXPECT_TRUE(std::isnan(values[i])) << i;
    } else {
      EXPECT_EQ(values[i], whole[i]) << i;
    }
  }
}

TEST(Hdf5File, IsUsedByManyThreadsAtOnce) {
  const TempFolder folder;
  std::array<bool, 4> same{};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < same.size(); ++t) {
    threads.emplace_back([&folder, &same, t] {
      const std::string path = folder / fmt::format("thread-{}.h5", t);
      const std::vector<int32_t> values(1000, static_cast<int32_t>(t));
      bool all = true;
      for (int round = 0; round < 10; ++round) {
        Hdf5File file = Hdf5File::create(path);
        file.write_all("values", values);
        file.close();
        all = all && Hdf5File::open_read(path).read_all<int32_t>("values") == values;
      }
      same[t] = all;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(same, testing::Each(true));
}

TEST(Hdf5File, ReportsWhatCannotBeWritten) {
  const TempFolder folder;
  EXPECT_THROW(Hdf5File::create(folder / "no/such/folder.h5"), base::SystemError);
  Hdf5File file = Hdf5File::create(folder / "twice.h5");
  file.create_dataset("same", Type::kUint8, {4});
  EXPECT_THROW(file.create_dataset("same", Type::kUint8, {4}), base::SystemError);
}

}  // namespace
}  // namespace rondo::storage

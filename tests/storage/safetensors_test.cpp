#include "storage/safetensors.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "base/error.hpp"
#include "support/temp_folder.hpp"

namespace rondo::storage {
namespace {

using test::TempFolder;

void put(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
}

// Header length, header, data.
std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), 8);
  return bytes + header + std::string(data_bytes, '\0');
}

std::string with_length(uint64_t length, const std::string& rest) {
  return std::string(reinterpret_cast<const char*>(&length), 8) + rest;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

// Message of the UserError that opening `bytes` as a file ends with.
std::string refusal(const std::string& bytes) {
  const TempFolder folder;
  put(folder / "a.safetensors", bytes);
  try {
    SafetensorsReader::open_file(folder / "a.safetensors");
  } catch (const base::UserError& error) {
    EXPECT_NE(std::string(error.what()).find("a.safetensors"), std::string::npos) << error.what();
    return error.what();
  }
  return "accepted";
}

struct Malformed {
  const char* name;
  std::string bytes;
  const char* said;
};

class Refuses : public testing::TestWithParam<Malformed> {};

TEST_P(Refuses, WithTheReason) {
  EXPECT_NE(refusal(GetParam().bytes).find(GetParam().said), std::string::npos)
      << refusal(GetParam().bytes);
}

std::vector<Malformed> malformed() {
  const std::string four = entry("a", "F32", "[1]", "[0,4]");
  return {
      {"Empty", "", "0 bytes"},
      {"SevenBytes", std::string(7, '\0'), "7 bytes"},
      {"LfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
       "git lfs pull"},
      {"HeaderOver100MB", with_length(100'000'001, "{}"), "at most 100000000"},
      {"HeaderLengthOverflows", with_length(~uint64_t{0}, "{}"), "at most 100000000"},
      {"HeaderBeyondFile", with_length(64, "{}"), "truncated"},
      {"NotJson", file_of("{\"a\":", 0), "not valid JSON"},
      {"NotUtf8", file_of("{\"\xff\xfe\":1}", 0), "not valid JSON"},
      {"NotAnObject", file_of("[1,2]", 0), "does not begin with '{'"},
      {"LeadingSpace", file_of(" {}", 0), "does not begin with '{'"},
      {"TextAfterJson", file_of("{} x", 0), "not valid JSON"},
      {"DuplicateTensor", file_of("{" + four + "," + four + "}", 4), "key \"a\" twice"},
      {"DuplicateKeyInEntry",
       file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
       "key \"dtype\" twice"},
      {"MetadataNotText", file_of("{\"__metadata__\":{\"n\":1}," + four + "}", 4),
       "__metadata__ must map texts to texts"},
      {"MetadataNotObject", file_of("{\"__metadata__\":\"pt\"," + four + "}", 4), "__metadata__"},
      {"DeepNesting",
       file_of("{\"a\":{\"dtype\":" + std::string(200'000, '[') + std::string(200'000, ']') +
                   ",\"shape\":[1],\"data_offsets\":[0,4]}}",
               4),
       "nested deeper than 64 levels"},
      {"UnknownDtype", file_of("{" + entry("a", "F31", "[1]", "[0,4]") + "}", 4),
       "unknown dtype \"F31\""},
      {"EntryNotObject", file_of(R"({"a":[1]})", 0), "exactly dtype, shape and data_offsets"},
      {"EntryWithMore",
       file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4),
       "exactly dtype, shape and data_offsets"},
      {"NegativeDim", file_of("{" + entry("a", "F32", "[-1]", "[0,4]") + "}", 4), "whole numbers"},
      {"FractionalDim", file_of("{" + entry("a", "F32", "[1.0]", "[0,4]") + "}", 4),
       "whole numbers"},
      {"ShapeOverflows",
       file_of("{" + entry("a", "F32", "[4294967296,4294967296,4]", "[0,4]") + "}", 4),
       "overflows 64 bits"},
      {"DimBeyondInt64",
       file_of("{" + entry("a", "F32", "[9223372036854775808]", "[0,4]") + "}", 4),
       "whole numbers"},
      {"BytesNotShapeTimesDtype", file_of("{" + entry("a", "F32", "[2]", "[0,4]") + "}", 4),
       "span 4 bytes, but shape [2] of F32 takes 8"},
      {"EndBeforeBegin", file_of("{" + entry("a", "F32", "[1]", "[4,0]") + "}", 4),
       "end before they begin"},
      {"OneOffset", file_of("{" + entry("a", "F32", "[1]", "[0]") + "}", 4),
       "not a pair of byte offsets"},
      {"NegativeOffset", file_of("{" + entry("a", "F32", "[1]", "[-4,0]") + "}", 4),
       "not a pair of byte offsets"},
      {"Overlap",
       file_of(
           "{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "F32", "[2]", "[4,12]") + "}",
           12),
       "overlap"},
      {"SameRangeTwice",
       file_of(
           "{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("b", "F32", "[1]", "[0,4]") + "}",
           4),
       "overlap"},
      {"Hole",
       file_of(
           "{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("b", "F32", "[1]", "[8,12]") + "}",
           12),
       "leave a hole"},
      {"HoleAtStart", file_of("{" + entry("a", "F32", "[1]", "[4,8]") + "}", 8), "leave a hole"},
      {"TrailingBytes", file_of("{" + four + "}", 6), "2 bytes follow the last tensor"},
      {"TwoBytesMissing", file_of("{" + four + "}", 2), "truncated"},
      {"DataWithoutTensors", file_of("{}", 4), "4 bytes follow"},
  };
}

INSTANTIATE_TEST_SUITE_P(Safetensors, Refuses, testing::ValuesIn(malformed()),
                         [](const auto& test) { return std::string(test.param.name); });

std::string folder_refusal(const TempFolder& folder) {
  try {
    SafetensorsReader::open_folder(folder.path());
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "accepted";
}

std::string file_with(const std::string& name) {
  return file_of("{" + entry(name, "F32", "[1]", "[0,4]") + "}", 4);
}

TEST(SafetensorsFolder, WithoutWeightsSaysWhatIsMissing) {
  const TempFolder folder;
  EXPECT_NE(folder_refusal(folder).find("neither model.safetensors nor"), std::string::npos);
  put(folder / "pytorch_model.bin", "x");
  EXPECT_NE(folder_refusal(folder).find("save_pretrained"), std::string::npos);
}

TEST(SafetensorsFolder, IndexAndFilesMustAgree) {
  const TempFolder folder;
  const std::string index = folder / "model.safetensors.index.json";
  put(folder / "one.safetensors", file_with("a"));
  put(index, R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  EXPECT_NE(folder_refusal(folder).find("names two.safetensors, which is not in the folder"),
            std::string::npos);
  put(folder / "two.safetensors", file_with("a"));
  EXPECT_NE(folder_refusal(folder).find("\"a\" is in two files"), std::string::npos);
  put(folder / "two.safetensors", file_with("c"));
  EXPECT_NE(folder_refusal(folder).find("but it is not there"), std::string::npos);
  put(folder / "two.safetensors", file_of("{" + entry("b", "F32", "[1]", "[0,4]") + "," +
                                              entry("c", "F32", "[1]", "[4,8]") + "}",
                                          8));
  EXPECT_NE(folder_refusal(folder).find("\"c\" is not listed"), std::string::npos);
  put(folder / "two.safetensors", file_with("b"));
  EXPECT_EQ(SafetensorsReader::open_folder(folder.path()).tensors().size(), 2U);
  put(index, R"({"weight_map":{"a":"../one.safetensors"}})");
  EXPECT_NE(folder_refusal(folder).find("expected the name of a file"), std::string::npos);
  put(index, R"({"weight_map":{"a":"one.safetensors","a":"two.safetensors"}})");
  EXPECT_NE(folder_refusal(folder).find("\"a\" twice"), std::string::npos);
  put(folder / "model.safetensors", file_with("a"));
  EXPECT_NE(folder_refusal(folder).find("both model.safetensors and"), std::string::npos);
}

TEST(Safetensors, PaddedHeaderEmptyTensorsAndScalarsAreRead) {
  const TempFolder folder;
  put(folder / "a.safetensors",
      file_of("{\"__metadata__\":{\"format\":\"pt\"}," + entry("none", "F32", "[0,3]", "[0,0]") +
                  "," + entry("one", "F32", "[]", "[0,4]") + "}   ",
              4));
  const auto reader = SafetensorsReader::open_file(folder / "a.safetensors");
  EXPECT_EQ(reader.tensors().at("none").numel, 0);
  EXPECT_EQ(reader.tensors().at("one").numel, 1);
}

TEST(Safetensors, ATensorOfAnotherDtypeIsRefusedWhenRead) {
  const TempFolder folder;
  put(folder / "a.safetensors", file_of("{" + entry("a", "F64", "[1]", "[0,8]") + "}", 8));
  const auto reader = SafetensorsReader::open_file(folder / "a.safetensors");
  float value = 0;
  EXPECT_THROW(reader.read("a", 0, {&value, 1}), base::UserError);
}

class RoundTrip : public testing::TestWithParam<Dtype> {};

// Values that all three types hold exactly.
TEST_P(RoundTrip, OverSeveralFilesGivesTheSameBits) {
  const TempFolder folder;
  std::vector<float> values(3000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 251) / 64 - 1;
  values[0] = -0.0f;
  const std::vector<SafetensorsWriter::Tensor> tensors = {
      {"a", {1000}}, {"b", {10, 100}}, {"c", {1000}}};
  SafetensorsWriter writer(folder.path(), tensors, GetParam(), 5000);
  const std::span<const float> all(values);
  writer.write("b", all.subspan(1000, 1000));
  writer.write("a", all.first(1000));
  writer.write("c", all.last(1000));
  writer.finish();

  const auto reader = SafetensorsReader::open_folder(folder.path());
  EXPECT_EQ(reader.tensors().size(), 3U);
  EXPECT_NE(reader.path_of("a"), reader.path_of("c"));
  size_t begin = 0;
  for (const auto& tensor : tensors) {
    EXPECT_EQ(reader.tensors().at(tensor.name).shape, tensor.shape);
    EXPECT_EQ(reader.tensors().at(tensor.name).offset % 8, 0);
    std::vector<float> out(700);
    reader.read(tensor.name, 123, out);
    EXPECT_EQ(std::memcmp(out.data(), values.data() + begin + 123, out.size() * sizeof(float)), 0);
    begin += 1000;
  }
  EXPECT_THROW(
      {
        std::vector<float> out(10);
        reader.read("a", 995, out);
      },
      base::Bug);
}

INSTANTIATE_TEST_SUITE_P(Safetensors, RoundTrip,
                         testing::Values(Dtype::kF32, Dtype::kBf16, Dtype::kF16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(Safetensors, NarrowingRoundsToNearestEvenAndRefusesToOverflow) {
  const TempFolder folder;
  // 1 + 2^-8 and 1 + 3 * 2^-8 lie halfway between neighbours in bfloat16.
  const std::vector<float> values = {1.00390625f, 1.01171875f,
                                     std::numeric_limits<float>::infinity()};
  SafetensorsWriter writer(folder.path(), {{"a", {3}}}, Dtype::kBf16);
  writer.write("a", values);
  writer.finish();
  const auto reader = SafetensorsReader::open_file(folder / "model.safetensors");
  std::vector<float> out(3);
  reader.read("a", 0, out);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], 1.015625f);
  EXPECT_TRUE(std::isinf(out[2]));

  const TempFolder other;
  SafetensorsWriter half(other.path(), {{"a", {1}}}, Dtype::kF16);
  const float large = 70000;
  EXPECT_THROW(half.write("a", {&large, 1}), base::UserError);
}

TEST(Safetensors, FinishingWithATensorMissingIsABug) {
  const TempFolder folder;
  SafetensorsWriter writer(folder.path(), {{"a", {1}}}, Dtype::kF32);
  EXPECT_THROW(writer.finish(), base::Bug);
}

}  // namespace
}  // namespace rondo::storage

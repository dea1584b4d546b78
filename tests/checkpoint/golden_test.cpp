// Law: a checkpoint of any format version is read for ever. The fixtures are described in
// tests/golden/checkpoint-v*/README.md.
#include <cstdlib>
#include <filesystem>

#include "base/file.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/digest.hpp"
#include "checkpoint/toy.hpp"
#include "comm/local_world.hpp"
#include "support/temp_folder.hpp"

namespace rondo::test {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Verify;
using comm::Control;
using comm::Group;
using comm::LocalWorld;

constexpr const char* kName = "step-00000120";
constexpr const char* kDigest = "b6d7de0bdbce7d60";

// RONDO_SOURCE says where they are when the test runs on another machine than it was built on.
std::string golden_folder(int version) {
  const char* source = std::getenv("RONDO_SOURCE");
  return fmt::format("{}/tests/golden/checkpoint-v{}", source ? source : RONDO_SOURCE_DIR, version);
}

std::vector<checkpoint::LogicalTensor> golden_tensors() {
  return {{"model.embed_tokens.weight", {5, 3}},
          {"model.norm.weight", {3}},
          {"optimizer/exp_avg/model.embed_tokens.weight", {5, 3}},
          {"optimizer/exp_avg_sq/model.embed_tokens.weight", {5, 3}}};
}

// Element i of tensor t is t * 100 + i / 8.
float golden_value(size_t t, int64_t i) {
  return static_cast<float>(t) * 100.0F + static_cast<float>(i) / 8.0F;
}

// The tables of five rows by columns, which version 1 did not know; the vector evenly cut.
checkpoint::SaveResult save_golden(const std::string& folder, Control& control) {
  checkpoint::SaveRequest request;
  request.folder = folder;
  request.name = kName;
  request.step = 120;
  request.tensors = golden_tensors();
  request.state = {{"round", "first"}, {"step", 120}, {"lr", 1e-5}};
  request.writer_group = control.rank() / 2;
  std::vector<std::vector<float>> data;
  for (size_t t = 0; t < request.tensors.size(); ++t) {
    const auto& shape = request.tensors[t].shape;
    const int64_t width = shape.back();
    const int64_t rows = request.tensors[t].count() / width;
    const auto mine = base::even_part(width, control.size(), control.rank());
    const base::Strided elements{mine.begin, mine.size(), width, rows};
    std::vector<float> values;
    for (int64_t row = 0; row < rows; ++row) {
      const base::Slice run = elements.run(row);
      for (int64_t i = run.begin; i < run.end; ++i) values.push_back(golden_value(t, i));
    }
    data.push_back(std::move(values));
    request.pieces.push_back({t, elements, data.back().data(), mine.size()});
  }
  return save(request, control);
}

void expect_golden(const Checkpoint& saved) {
  EXPECT_EQ(saved.name(), kName);
  EXPECT_EQ(saved.step(), 120);
  EXPECT_EQ(saved.digest(), kDigest);
  EXPECT_EQ(saved.state().at("round"), "first");
  EXPECT_EQ(saved.state().at("lr"), 1e-5);
  ASSERT_EQ(saved.tensors().size(), golden_tensors().size());
  for (size_t t = 0; t < saved.tensors().size(); ++t) {
    EXPECT_EQ(saved.tensors()[t].name, golden_tensors()[t].name);
    EXPECT_EQ(saved.tensors()[t].shape, golden_tensors()[t].shape);
    const auto values = saved.read_all(saved.tensors()[t].name);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(values[i], golden_value(t, static_cast<int64_t>(i)));
    }
  }
}

TEST(Golden, EveryVersionIsRead) {
  for (const int version : {1, 2}) {
    LocalWorld::run(2, [&](Group&, Control& control) {
      expect_golden(Checkpoint::open(golden_folder(version) + "/" + kName, control, Verify::kFull));
    });
  }
}

TEST(Golden, TodaysProgramWritesTheSameContent) {
  const TempFolder folder;
  LocalWorld::run(3, [&](Group&, Control& control) {
    EXPECT_EQ(save_golden(folder.path(), control).digest, kDigest);
    expect_golden(Checkpoint::open(folder / kName, control, Verify::kFull));
  });
}

// Wrote the fixture of version 2; not a test. Run by --gtest_also_run_disabled_tests after removing
// the fixture.
TEST(Golden, DISABLED_WriteTheFixture) {
  LocalWorld::run(3, [&](Group&, Control& control) { save_golden(golden_folder(2), control); });
  std::filesystem::remove(golden_folder(2) + "/LATEST");
}

TEST(Digest, IsTheSameForEveryCutAndFeelsEveryBit) {
  using checkpoint::digest_part;
  std::vector<float> values;
  for (int64_t i = 0; i < 1000; ++i) values.push_back(toy_value("t", i, 1));
  const uint64_t whole = digest_part("t", 0, values.data(), 1000);
  for (int64_t cut = 0; cut <= 1000; cut += 37) {
    EXPECT_EQ(digest_part("t", 0, values.data(), cut) +
                  digest_part("t", cut, values.data() + cut, 1000 - cut),
              whole);
  }
  EXPECT_NE(digest_part("u", 0, values.data(), 1000), whole);
  EXPECT_NE(digest_part("t", 1, values.data(), 1000), whole);
  for (size_t i = 0; i < 1000; i += 13) {
    const float before = values[i];
    for (uint32_t bit = 0; bit < 32; ++bit) {
      values[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(before) ^ (uint32_t{1} << bit));
      EXPECT_NE(digest_part("t", 0, values.data(), 1000), whole);
    }
    values[i] = before;
  }
  std::swap(values[3], values[4]);
  EXPECT_NE(digest_part("t", 0, values.data(), 1000), whole);
}

TEST(Digest, CountsBeyondFourBillionElements) {
  const std::vector<float> values = {1.0F, 2.0F, 3.0F, 4.0F};
  const int64_t page = int64_t{1} << 32;
  using checkpoint::digest_part;
  EXPECT_EQ(
      digest_part("t", page - 2, values.data(), 4),
      digest_part("t", page - 2, values.data(), 2) + digest_part("t", page, values.data() + 2, 2));
  EXPECT_NE(digest_part("t", page, values.data(), 4), digest_part("t", 0, values.data(), 4));
}

TEST(Digest, TextGoesBothWays) {
  EXPECT_EQ(checkpoint::parse_digest(checkpoint::digest_text(0x0123456789abcdefULL)),
            0x0123456789abcdefULL);
  for (const std::string text : {"", "123", "0123456789abcdeg", "0123456789abcdef0"}) {
    EXPECT_THROW(checkpoint::parse_digest(text), base::UserError);
  }
}

}  // namespace
}  // namespace rondo::test

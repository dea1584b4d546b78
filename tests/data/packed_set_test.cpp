#include "data/packed_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "data/packed_format.hpp"
#include "data/packing.hpp"
#include "storage/hdf5.hpp"

namespace rondo::data {
namespace {

namespace fs = std::filesystem;
using storage::Hdf5File;
using storage::Type;
using test::TempFolder;
using testing::AllOf;
using testing::HasSubstr;

// A set of one shard in folder/out.
void make_set(const TempFolder& folder) {
  test::write_tokenized(folder / "in.h5", test::random_tokenized(1, 60, 2, 64));
  pack_on(1, request_for(folder / "in.h5", folder / "out"));
}

std::string read_all(const TempFolder& folder, int64_t vocab = 100) {
  return user_error([&] {
    const PackedSet set = PackedSet::open(folder / "out", vocab);
    for (int64_t p = 0; p < set.packs(); ++p) set.read(std::vector<int64_t>{p});
  });
}

// Changes one byte of a dataset in the shard.
void flip(const TempFolder& folder, const char* dataset, Type type, int64_t byte) {
  const std::string path = folder / ("out/" + shard_name(0));
  const int64_t at = Hdf5File::open_read(path).data_offset(dataset, type) + byte;
  base::File file = base::File::open_write(path);
  std::byte value{};
  file.read_at(at, {&value, 1});
  value ^= std::byte{1};
  file.write_at(at, {&value, 1});
  file.close();
}

void edit_plan(const TempFolder& folder, const std::function<void(nlohmann::json&)>& change) {
  nlohmann::json plan = nlohmann::json::parse(base::read_text(folder / "out/plan.json"));
  change(plan);
  base::write_text_durably(folder / "out/plan.json", plan.dump());
}

TEST(PackedSet, KnowsWhatItHolds) {
  const TempFolder folder;
  make_set(folder);
  const PackedSet set = PackedSet::open(folder / "out", 100);
  EXPECT_EQ(set.seq_len(), 64);
  EXPECT_EQ(set.documents(), 60);
  EXPECT_EQ(set.sources(), std::vector<std::string>{"only"});
  EXPECT_EQ(set.plan_hash().size(), 32U);
  EXPECT_EQ(set.tokenizer_hash(), std::string(32, 'a'));
  EXPECT_EQ(set.account().at("documents"), 60);
  EXPECT_GT(set.weight(), 0);
}

TEST(PackedSet, ReadsPacksSideBySide) {
  const TempFolder folder;
  make_set(folder);
  const PackedSet set = PackedSet::open(folder / "out", 100);
  const PackedBatch both = set.read(std::vector<int64_t>{2, kEmptyPack, 0});
  const PackedBatch first = set.read(std::vector<int64_t>{2});
  const PackedBatch last = set.read(std::vector<int64_t>{0});
  EXPECT_EQ(both.packs, 3);
  EXPECT_EQ(both.layout.rows, 3 * 64);
  EXPECT_TRUE(at::equal(both.tokens.narrow(0, 0, 64), first.tokens));
  EXPECT_TRUE(at::equal(both.tokens.narrow(0, 64, 64), at::zeros({64}, at::kInt)));
  EXPECT_TRUE(at::equal(both.tokens.narrow(0, 128, 64), last.tokens));
  EXPECT_TRUE(at::equal(both.rows, at::cat({first.rows, last.rows + 128})));
  EXPECT_TRUE(at::equal(both.labels, at::cat({first.labels, last.labels})));
  EXPECT_TRUE(at::equal(both.weights, at::cat({first.weights, last.weights})));
  EXPECT_EQ(both.weight, first.weight + last.weight);
  EXPECT_EQ(both.real_tokens, first.real_tokens + last.real_tokens);
  EXPECT_EQ(both.layout.documents.size(), both.example_ids.size());
  EXPECT_EQ(both.layout.documents.back().end, last.layout.documents.back().end + 128);
}

TEST(PackedSet, GivesEveryExampleTheSameWeightWhenAsked) {
  const TempFolder folder;
  make_set(folder);
  const PackedSet set = PackedSet::open(folder / "out", 100);
  const PackedBatch plain = set.read(std::vector<int64_t>{0, 1});
  const PackedBatch batch = set.read(std::vector<int64_t>{0, 1}, Average::kExamples);
  EXPECT_TRUE(at::equal(plain.rows, batch.rows));
  const auto documents = static_cast<int64_t>(batch.layout.documents.size());
  const at::Tensor sums = at::zeros({documents}).index_add(0, batch.examples, batch.weights);
  EXPECT_TRUE(at::allclose(sums, at::ones({documents}), 1e-6));
  EXPECT_NEAR(batch.weight, static_cast<double>(documents), 1e-5);
}

TEST(PackedSet, AnEmptyBatchWeighsNothing) {
  const PackedBatch batch = PackedBatch::empty(2, 8);
  EXPECT_EQ(batch.tokens.numel(), 16);
  EXPECT_EQ(batch.layout.rows, 16);
  EXPECT_EQ(batch.rows.numel(), 0);
  EXPECT_EQ(batch.weight, 0);
}

TEST(PackedSet, NoticesOneChangedByte) {
  for (const auto& [dataset, type, byte] : {std::tuple{"tokens", Type::kInt32, int64_t{64 * 4 + 8}},
                                            std::tuple{"weights", Type::kUint8, int64_t{64 + 5}}}) {
    const TempFolder folder;
    make_set(folder);
    EXPECT_EQ(read_all(folder), "no UserError was thrown");
    flip(folder, dataset, type, byte);
    EXPECT_THAT(read_all(folder),
                AllOf(HasSubstr("packed-00000.h5: pack 1 is damaged"), HasSubstr("CRC32C")));
  }
  const TempFolder folder;
  make_set(folder);
  flip(folder, "document_offsets", Type::kInt64, 8);
  EXPECT_NE(read_all(folder), "no UserError was thrown");
}

TEST(PackedSet, RefusesTokensThatTheModelHasNot) {
  const TempFolder folder;
  make_set(folder);
  EXPECT_THAT(read_all(folder, 60),
              AllOf(HasSubstr("packed-00000.h5: token"), HasSubstr("0 to 59")));
}

TEST(PackedSet, RefusesWhatIsNotWhole) {
  const TempFolder folder;
  EXPECT_THAT(read_all(folder), AllOf(HasSubstr("out"), HasSubstr("is not a packed set")));
  make_set(folder);
  const std::string shard = folder / ("out/" + shard_name(0));
  const std::string bytes = base::read_text(shard);
  fs::resize_file(shard, bytes.size() - 1);
  EXPECT_THAT(read_all(folder), AllOf(HasSubstr("packed-00000.h5"), HasSubstr("truncated")));
  fs::resize_file(shard, bytes.size() + 1);
  EXPECT_THAT(read_all(folder), AllOf(HasSubstr("packed-00000.h5"), HasSubstr("expected")));
  fs::remove(shard);
  EXPECT_THAT(read_all(folder), AllOf(HasSubstr("packed-00000.h5"), HasSubstr("No such file")));
}

TEST(PackedSet, RefusesAPlanThatIsNotAsTheFormatSays) {
  const std::vector<std::pair<std::function<void(nlohmann::json&)>, std::string>> changes = {
      {[](auto& plan) { plan["format"] = "other"; }, "format"},
      {[](auto& plan) { plan["version"] = 1; }, "version 1"},
      {[](auto& plan) { plan.erase("shards"); }, "shards"},
      {[](auto& plan) { plan["seq_len"] = "long"; }, "plan.json"},
      {[](auto& plan) { plan["seq_len"] = 63; }, "63 were expected"},
      {[](auto& plan) { plan["seq_len"] = 64.5; }, "\"seq_len\" is not a whole number"},
      {[](auto& plan) { plan["shards"][0]["packs"] = 1e300; }, "\"packs\" is not a whole number"},
      {[](auto& plan) { plan["plan_hash"] = "0"; }, "plan_hash"},
      {[](auto& plan) { plan["account"]["packs"] = 1; }, "plan.json says 1"},
      {[](auto& plan) { plan["shards"] = nlohmann::json::array(); }, "hold 0 packs"},
      {[](auto& plan) { plan["account"]["sources"] = nlohmann::json::array(); }, "0 sources"}};
  for (const auto& [change, expected] : changes) {
    const TempFolder folder;
    make_set(folder);
    edit_plan(folder, change);
    EXPECT_THAT(read_all(folder), HasSubstr(expected));
  }
  const TempFolder folder;
  make_set(folder);
  base::write_text_durably(folder / "out/plan.json", "{\"format\": ");
  EXPECT_THAT(read_all(folder), HasSubstr("not valid JSON"));
  base::write_text_durably(folder / "out/plan.json",
                           std::string(200'000, '[') + std::string(200'000, ']'));
  EXPECT_THAT(read_all(folder), HasSubstr("nested deeper than 64 levels"));
}

}  // namespace
}  // namespace rondo::data

#include "data/pack.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.hpp"
#include "base/hash.hpp"
#include "data/packed_format.hpp"
#include "data/packed_set.hpp"
#include "data/packing.hpp"

namespace rondo::data {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;
using test::TokenizedContent;
using testing::AllOf;
using testing::HasSubstr;

// Content of every file of a folder, by name.
std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> result;
  for (const auto& entry : fs::directory_iterator(folder)) {
    result[entry.path().filename().string()] = base::read_text(entry.path().string());
  }
  return result;
}

// How often each example is in a set.
std::map<uint64_t, int> uses(const std::string& folder) {
  const PackedSet set = PackedSet::open(folder, 100);
  std::map<uint64_t, int> count;
  for (int64_t p = 0; p < set.packs(); ++p) {
    for (const uint64_t id : set.example_ids(p)) ++count[id];
  }
  return count;
}

TEST(Pack, KeepsEveryDocumentWholeWithItsLabelsShifted) {
  const TempFolder folder;
  TokenizedContent content = test::random_tokenized(1, 300, 2, 64);
  content.weight_table = {0.0F, 1.0F, 0.5F, 0.0F};
  content.examples[3].codes.assign(content.examples[3].tokens.size(), 2);
  content.examples[4].codes.assign(content.examples[4].tokens.size(), 3);  // weighs nothing
  test::write_tokenized(folder / "in.h5", content);
  const PackReport report = pack_on(1, request_for(folder / "in.h5", folder / "out"));
  EXPECT_EQ(report.sources.at(0).fully_masked, 1);
  EXPECT_EQ(report.documents(), 299);

  std::map<uint64_t, const test::TokenizedExample*> by_id;
  for (const auto& example : content.examples) by_id[example.id] = &example;
  const PackedSet set = PackedSet::open(folder / "out", 100);
  std::set<uint64_t> seen;
  int64_t trained = 0;
  double weight = 0;
  for (int64_t p = 0; p < set.packs(); ++p) {
    const PackedBatch batch = set.read(std::vector<int64_t>{p});
    int64_t row = 0;
    for (size_t d = 0; d < batch.layout.documents.size(); ++d) {
      const base::Slice place = batch.layout.documents[d];
      const test::TokenizedExample& example = *by_id.at(batch.example_ids[d]);
      EXPECT_TRUE(seen.insert(batch.example_ids[d]).second);
      ASSERT_EQ(place.size(), static_cast<int64_t>(example.tokens.size()));
      const int32_t* tokens = batch.tokens.const_data_ptr<int32_t>() + place.begin;
      EXPECT_EQ(std::vector<int32_t>(tokens, tokens + place.size()), example.tokens);
      for (size_t t = 1; t < example.tokens.size(); ++t) {
        const float expected = content.weight_table[example.codes[t]];
        if (expected == 0) continue;
        ASSERT_LT(row, batch.rows.numel());
        EXPECT_EQ(batch.rows[row].item<int64_t>(), place.begin + static_cast<int64_t>(t) - 1);
        EXPECT_EQ(batch.labels[row].item<int64_t>(), example.tokens[t]);
        EXPECT_EQ(batch.weights[row].item<float>(), expected);
        EXPECT_EQ(batch.examples[row].item<int64_t>(), static_cast<int64_t>(d));
        EXPECT_EQ(batch.sources[row].item<int64_t>(), 0);
        weight += static_cast<double>(expected);
        ++row;
      }
    }
    EXPECT_EQ(row, batch.rows.numel());
    EXPECT_EQ(batch.trainable_tokens, row);
    trained += row;
  }
  EXPECT_EQ(seen.size(), 299U);
  EXPECT_EQ(trained, report.trained_tokens());
  EXPECT_DOUBLE_EQ(weight, set.weight());
}

TEST(Pack, MakesTheSameBytesOnAnyNumberOfRanks) {
  const TempFolder folder;
  test::write_tokenized(folder / "a.h5", test::random_tokenized(1, 200, 2, 2048));
  test::write_tokenized(folder / "b.h5", test::random_tokenized(2, 150, 2, 500));
  PackRequest request = request_for(folder / "a.h5", "");
  request.sources = {{.name = "a", .files = {folder / "a.h5"}, .passes = 120},
                     {.name = "b", .files = {folder / "b.h5", folder / "a.h5"}, .passes = 0.5}};
  request.seq_len = 2048;
  request.out_folder = folder / "out-1";
  pack_on(1, request);
  const auto expected = contents(request.out_folder);
  EXPECT_GE(expected.size(), 3U) << "several shards, so that ranks share the work";
  for (const int ranks : {2, 3, 4}) {
    request.out_folder = folder / fmt::format("out-{}", ranks);
    pack_on(ranks, request);
    EXPECT_EQ(contents(request.out_folder), expected) << ranks;
  }
}

TEST(Pack, CountsPasses) {
  const TempFolder folder;
  test::write_tokenized(folder / "in.h5", test::random_tokenized(1, 101, 2, 64));
  PackRequest request = request_for(folder / "in.h5", folder / "out");
  request.sources[0].passes = 2.5;
  const PackReport report = pack_on(2, request);
  int thrice = 0;
  for (const auto& [id, count] : uses(folder / "out")) {
    EXPECT_TRUE(count == 2 || count == 3) << id;
    thrice += count == 3 ? 1 : 0;
  }
  EXPECT_EQ(uses(folder / "out").size(), 101U);
  EXPECT_EQ(thrice, 51);
  EXPECT_EQ(report.sources[0].documents, 253);
  EXPECT_EQ(report.sources[0].repeats, 152);
}

TEST(Pack, SplitsWithoutOverlapWhateverTheOtherSettings) {
  const TempFolder folder;
  test::write_tokenized(folder / "in.h5", test::random_tokenized(1, 100, 2, 64));
  PackRequest train = request_for(folder / "in.h5", folder / "train");
  train.sources[0].heldout_split = 30;
  train.seed = 1;
  PackRequest heldout = train;
  heldout.out_folder = folder / "heldout";
  heldout.sources[0].take_heldout = true;
  heldout.seed = 99;
  heldout.max_documents = 1;
  pack_on(1, train);
  pack_on(1, heldout);
  const auto trained = uses(folder / "train");
  const auto held = uses(folder / "heldout");
  EXPECT_EQ(trained.size(), 70U);
  EXPECT_EQ(held.size(), 30U);
  for (const auto& [id, count] : held) EXPECT_EQ(trained.count(id), 0U);
  EXPECT_EQ(PackedSet::open(folder / "heldout", 100).packs(), 30) << "one document per pack";

  heldout.sources[0].max_examples = 10;
  pack_on(1, heldout);
  EXPECT_EQ(uses(folder / "heldout").size(), 10U) << "an older set is replaced";
  for (const auto& [id, count] : uses(folder / "heldout")) EXPECT_EQ(held.count(id), 1U);

  train.sources[0].heldout_split = 100;
  EXPECT_THAT(user_error([&] { pack_on(2, train); }),
              AllOf(HasSubstr("source only"), HasSubstr("100 examples are to be held out")));
}

TEST(Pack, TreatsOverLongExamplesAsAsked) {
  const TempFolder folder;
  TokenizedContent content = test::random_tokenized(1, 50, 10, 64);
  content.examples[7].tokens.assign(100, 9);
  content.examples[7].codes.assign(100, 1);
  content.examples[9].tokens.assign(100, 9);
  content.examples[9].codes.assign(100, 0);
  content.examples[9].codes[64] = 1;  // trained only beyond the cut
  test::write_tokenized(folder / "in.h5", content);
  PackRequest request = request_for(folder / "in.h5", folder / "out");

  EXPECT_THAT(user_error([&] { pack_on(2, request); }),
              AllOf(HasSubstr("source only"), HasSubstr("2 of 50 examples (4.00 %)"),
                    HasSubstr("more than 64 tokens")));
  EXPECT_FALSE(fs::exists(folder / "out"));

  request.max_rejected = 0.04;
  const PackReport dropped = pack_on(2, request);
  EXPECT_EQ(dropped.sources[0].over_long, 2);
  EXPECT_EQ(dropped.documents(), 48);

  request.over_long = OverLong::kError;
  EXPECT_THAT(user_error([&] { pack_on(2, request); }),
              AllOf(HasSubstr("in.h5, example 7 has 100 tokens"), HasSubstr("a pack has 64")));

  request.over_long = OverLong::kCut;
  request.max_rejected = 0;
  const PackReport cut = pack_on(2, request);
  EXPECT_EQ(cut.sources[0].cut, 1);
  EXPECT_EQ(cut.sources[0].fully_masked, 1);
  EXPECT_EQ(cut.documents(), 49);
  const PackedSet set = PackedSet::open(folder / "out", 100);
  int64_t longest = 0;
  for (int64_t p = 0; p < set.packs(); ++p) {
    longest = std::max(longest, set.read(std::vector<int64_t>{p}).layout.longest);
  }
  EXPECT_EQ(longest, 64);
}

TEST(Pack, RefusesASourceWithoutATrainableToken) {
  const TempFolder folder;
  TokenizedContent content = test::random_tokenized(1, 5, 2, 20);
  for (auto& example : content.examples) {
    example.codes.assign(example.tokens.size(), 0);
    example.codes[0] = 1;  // nothing stands before it, so nothing predicts it
  }
  test::write_tokenized(folder / "in.h5", content);
  PackRequest request = request_for(folder / "in.h5", folder / "out");
  request.sources[0].heldout_split = 2;
  request.sources[0].take_heldout = true;
  EXPECT_THAT(user_error([&] { pack_on(2, request); }),
              HasSubstr("held-out source only has no trainable token"));
  content.examples.clear();
  test::write_tokenized(folder / "in.h5", content);
  EXPECT_THAT(user_error([&] { pack_on(2, request_for(folder / "in.h5", folder / "out")); }),
              HasSubstr("source only has no trainable token"));
}

TEST(Pack, RefusesInputsOfDifferentTokenizers) {
  const TempFolder folder;
  TokenizedContent content = test::random_tokenized(1, 5, 2, 20);
  test::write_tokenized(folder / "a.h5", content);
  content.tokenizer_hash = std::string(32, 'f');
  test::write_tokenized(folder / "b.h5", content);
  PackRequest request = request_for(folder / "a.h5", folder / "out");
  request.sources.push_back({.name = "b", .files = {folder / "b.h5"}});
  EXPECT_THAT(user_error([&] { pack_on(2, request); }),
              AllOf(HasSubstr("b.h5"), HasSubstr("another tokenizer"), HasSubstr("a.h5")));
}

TEST(Pack, MergesWeightTables) {
  const TempFolder folder;
  TokenizedContent content;
  content.weight_table = {0.0F, 0.5F, 1.0F};
  content.examples = {{{1, 2, 3}, {0, 1, 2}, 1}};
  test::write_tokenized(folder / "a.h5", content);
  content.weight_table = {0.0F, 1.0F, 2.0F};
  content.examples = {{{1, 2, 3, 4}, {0, 1, 2, 1}, 2}};
  test::write_tokenized(folder / "b.h5", content);
  PackRequest request = request_for(folder / "a.h5", folder / "out");
  request.sources[0].files.push_back(folder / "b.h5");
  pack_on(1, request);
  const PackedBatch batch = PackedSet::open(folder / "out", 100).read(std::vector<int64_t>{0});
  EXPECT_TRUE(at::equal(batch.weights, at::tensor({1.0F, 2.0F, 1.0F, 0.5F, 1.0F})));
}

TEST(Pack, LeavesNothingBehindWhenItFails) {
  const TempFolder folder;
  TokenizedContent content = test::random_tokenized(1, 50, 10, 64);
  content.examples[20].tokens[3] = 1000;
  test::write_tokenized(folder / "in.h5", content);
  const PackRequest request = request_for(folder / "in.h5", folder / "sets/out");
  for (const int ranks : {1, 3}) {
    EXPECT_THAT(user_error([&] { pack_on(ranks, request); }),
                AllOf(HasSubstr("token 3 of example 20 is 1000"), HasSubstr("0 to 99")));
    EXPECT_TRUE(fs::is_empty(folder / "sets"));
  }
}

TEST(Pack, NeverReplacesWhatIsNotAPackedSet) {
  const TempFolder folder;
  test::write_tokenized(folder / "in.h5", test::random_tokenized(1, 5, 2, 20));
  fs::create_directory(folder / "out");
  EXPECT_THAT(user_error([&] { pack_on(2, request_for(folder / "in.h5", folder / "out")); }),
              AllOf(HasSubstr("out"), HasSubstr("is not a packed set")));
  EXPECT_TRUE(fs::is_empty(folder / "out"));
}

TEST(Pack, IsCurrentForTheSameRequestAlone) {
  const TempFolder folder;
  test::write_tokenized(folder / "in.h5", test::random_tokenized(1, 50, 2, 64));
  const PackRequest request = request_for(folder / "in.h5", folder / "out");
  EXPECT_FALSE(is_current(folder / "out", request));
  pack_on(1, request);
  EXPECT_TRUE(is_current(folder / "out", request));
  PackRequest other = request;
  other.seq_len = 65;
  EXPECT_FALSE(is_current(folder / "out", other));
  other = request;
  other.sources[0].passes = 2;
  EXPECT_FALSE(is_current(folder / "out", other));
  test::write_tokenized(folder / "in.h5", test::random_tokenized(2, 51, 2, 64));
  EXPECT_FALSE(is_current(folder / "out", request));
  pack_on(1, request);
  EXPECT_TRUE(is_current(folder / "out", request));
  fs::resize_file(folder / ("out/" + shard_name(0)), 100);
  EXPECT_FALSE(is_current(folder / "out", request));
}

TEST(Pack, KilledAtAnyMomentLeavesAllOrNothing) {
  const TempFolder folder;
  test::write_tokenized(folder / "in.h5", test::random_tokenized(1, 4000, 2, 64));
  const PackRequest request = request_for(folder / "in.h5", folder / "sets/out");
  fs::create_directory(folder / "sets");
  const auto count = [&] {
    return std::distance(fs::directory_iterator(folder / "sets"), fs::directory_iterator());
  };
  for (int attempt = 0; attempt < 6; ++attempt) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::unique_ptr<comm::Group> group = comm::make_self_group();
      comm::Control control(comm::make_self_group());
      base::Console silent(false);
      pack(request, control, *group, silent);
      ::_exit(0);
    }
    int status = 0;
    // Each attempt dies a little later: when the folder holds `attempt` files or is published.
    const auto far_enough = [&] {
      std::error_code error;
      for (const auto& entry : fs::directory_iterator(folder / "sets", error)) {
        const auto files =
            std::distance(fs::directory_iterator(entry.path(), error), fs::directory_iterator());
        if (entry.path().filename() == "out" || files >= attempt) return true;
      }
      return false;
    };
    while (!far_enough() && ::waitpid(child, &status, WNOHANG) == 0) continue;
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    if (fs::exists(folder / "sets/out")) {
      EXPECT_TRUE(is_current(folder / "sets/out", request));
      EXPECT_EQ(PackedSet::open(folder / "sets/out", 100).documents(), 4000);
    }
  }
  pack_on(2, request);
  EXPECT_EQ(count(), 1) << "leftovers of the killed ones are removed";
  EXPECT_TRUE(is_current(folder / "sets/out", request));
}

TEST(Pack, CountsWhatTheDocumentsOfEachSourceAreLike) {
  const TempFolder folder;
  test::TokenizedContent content = test::random_tokenized(1, 3, 10, 10);
  content.examples[0].words = "u one two\na three\nu four\na five";
  content.examples[1].words = content.examples[2].words = "u one\na \xC3\xA9";
  test::write_tokenized(folder / "a.h5", content);
  nlohmann::json figures;
  for (const int ranks : {1, 2, 3, 4}) {
    PackRequest request = request_for(folder / "a.h5", folder / "out");
    request.sources[0].passes = 2;
    const PackReport report = pack_on(ranks, request);
    figures = report.sources[0].figures;
    EXPECT_EQ(figures["turns"], nlohmann::json::parse(R"({"2": 4, "4": 2})")) << ranks;
    EXPECT_EQ(figures["lengths"], nlohmann::json::parse(R"({"10": 6})"));
    EXPECT_EQ(figures["words"], 2 * (5 + 2 + 2));
    EXPECT_EQ(figures["scripts"]["Latin"], 4);
  }
  const auto plan = nlohmann::json::parse(base::read_text(folder / "out/plan.json"));
  EXPECT_EQ(plan["account"]["sources"][0]["figures"], figures);
}

}  // namespace
}  // namespace rondo::data

#include "data/tokenized.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "data/packing.hpp"

namespace rondo::data {
namespace {

using storage::Hdf5File;
using test::TempFolder;
using test::TokenizedContent;
using testing::AllOf;
using testing::HasSubstr;

TokenizedContent small() {
  TokenizedContent content;
  content.weight_table = {0.0F, 1.0F, 0.25F};
  content.examples = {
      {{5, 6, 7}, {0, 1, 2}, 11}, {{8, 9}, {0, 0}, 12}, {{1, 2, 3, 4}, {0, 0, 1, 1}, 13}};
  return content;
}

TEST(TokenizedFile, ReadsExamples) {
  const TempFolder folder;
  test::write_tokenized(folder / "a.h5", small());
  const TokenizedFile file = TokenizedFile::open(folder / "a.h5", 100);
  EXPECT_EQ(file.examples(), 3);
  EXPECT_EQ(file.tokens(), 9);
  EXPECT_EQ(file.length(2), 4);
  EXPECT_EQ(file.prompt_length(0), 1);
  EXPECT_EQ(file.prompt_length(1), 2);
  EXPECT_EQ(file.weight_table(), (std::vector<float>{0.0F, 1.0F, 0.25F}));
  EXPECT_EQ(file.example_ids(), (std::vector<uint64_t>{11, 12, 13}));
  std::vector<int32_t> tokens(4);
  file.read_tokens(2, tokens);
  EXPECT_EQ(tokens, (std::vector<int32_t>{1, 2, 3, 4}));
  std::vector<uint8_t> codes(5);
  file.read_codes(0, codes);
  EXPECT_EQ(codes, (std::vector<uint8_t>{0, 1, 2, 0, 0}));
  EXPECT_EQ(file.info().vocab_size, 100);
  EXPECT_EQ(file.info().end_of_turn_id, -1);
  EXPECT_EQ(file.info().tokenizer_hash, std::string(32, 'a'));
}

TEST(TokenizedFile, RefusesATokenizerLargerThanTheModel) {
  const TempFolder folder;
  test::write_tokenized(folder / "a.h5", small());
  EXPECT_THAT(user_error([&] { TokenizedFile::open(folder / "a.h5", 99); }),
              AllOf(HasSubstr("a.h5"), HasSubstr("100 ids"), HasSubstr("rows for 99")));
}

TEST(TokenizedFile, RefusesATokenThatTheModelHasNot) {
  const TempFolder folder;
  TokenizedContent content = small();
  content.examples[1].tokens[1] = 100;
  content.examples[2].tokens[0] = -1;
  test::write_tokenized(folder / "a.h5", content);
  const TokenizedFile file = TokenizedFile::open(folder / "a.h5", 100);
  std::vector<int32_t> tokens(2);
  EXPECT_THAT(user_error([&] { file.read_tokens(1, tokens); }),
              AllOf(HasSubstr("token 1 of example 1 is 100"), HasSubstr("0 to 99")));
  EXPECT_THAT(user_error([&] { file.read_tokens(2, tokens); }), HasSubstr("is -1"));
}

TEST(TokenizedFile, PathsOfItsSourcesAreTextsOfAList) {
  EXPECT_EQ(paths_of(R"([{"path": "a"}, {"path": 1}, 2, {}, {"path": "b"}])"),
            (std::vector<std::string>{"a", "", "", "", "b"}));
  for (const char* none : {"{}", "1", "[", ""}) EXPECT_TRUE(paths_of(none).empty()) << none;
}

// A valid file of two examples, changed by `change` before it is closed.
std::string refusal(const std::function<void(Hdf5File&)>& change,
                    const std::vector<std::string>& left_out) {
  const TempFolder folder;
  const std::string path = folder / "a.h5";
  Hdf5File file = Hdf5File::create(path);
  for (const char* name : {"tokenizer_hash", "template_hash", "settings_hash"}) {
    file.set_attribute(name, std::string(32, '0'));
  }
  file.set_attribute("format", "rondo.tokenized");
  file.set_attribute("version", int64_t{2});
  file.set_attribute("vocab_size", int64_t{10});
  file.set_attribute("end_of_turn_id", int64_t{2});
  file.set_attribute("source_files", "[]");
  file.set_attribute("counts", "{}");
  file.set_attribute("tag_names", R"(["maths"])");
  const auto add = [&](const std::string& name, const auto& values) {
    if (std::find(left_out.begin(), left_out.end(), name) == left_out.end()) {
      file.write_all(name, values);
    }
  };
  add("tokens", std::vector<int32_t>{1, 2, 3, 4});
  add("weights", std::vector<uint8_t>{0, 1, 0, 1});
  add("weight_table", std::vector<float>{0, 1});
  add("offsets", std::vector<int64_t>{0, 2, 4});
  add("example_id", std::vector<uint64_t>{1, 2});
  add("prompt_length", std::vector<int64_t>{1, 1});
  add("words", std::vector<uint8_t>{'u', 'a'});
  add("word_offsets", std::vector<int64_t>{0, 1, 2});
  add("file", std::vector<uint16_t>{0, 0});
  add("row", std::vector<int64_t>{1, 2});
  add("tags", std::vector<uint16_t>{0});
  add("tag_offsets", std::vector<int64_t>{0, 1, 1});
  change(file);
  file.close();
  return user_error([&] {
    const TokenizedFile opened = TokenizedFile::open(path, 10);
    std::vector<uint8_t> codes(static_cast<size_t>(opened.tokens()));
    opened.read_codes(0, codes);
  });
}

TEST(TokenizedFile, RefusesWhatIsNotAsTheFormatSays) {
  const auto none = [](Hdf5File&) {};
  EXPECT_EQ(refusal(none, {}), "no UserError was thrown");
  for (const char* name :
       {"tokens", "weights", "weight_table", "offsets", "example_id", "prompt_length", "words",
        "word_offsets", "file", "row", "tags", "tag_offsets"}) {
    EXPECT_THAT(refusal(none, {name}), AllOf(HasSubstr(name), HasSubstr("is missing")));
  }
  const auto with = [](const char* name, auto values) {
    return refusal([&](Hdf5File& file) { file.write_all(name, values); }, {name});
  };
  EXPECT_THAT(with("tokens", std::vector<int64_t>{1, 2, 3, 4}),
              HasSubstr("wrong dtype: int64 found, int32 expected"));
  EXPECT_THAT(with("tokens", std::vector<int32_t>{1, 2, 3}), HasSubstr("3 rows, 4 were expected"));
  EXPECT_THAT(with("offsets", std::vector<int32_t>{0, 2, 4}), HasSubstr("wrong dtype"));
  EXPECT_THAT(with("offsets", std::vector<int64_t>{1, 2, 4}), HasSubstr("must begin with 0"));
  EXPECT_THAT(with("offsets", std::vector<int64_t>{}), HasSubstr("must begin with 0"));
  EXPECT_THAT(with("offsets", std::vector<int64_t>{0, 5, 4}), HasSubstr("offsets[2] = 4"));
  EXPECT_THAT(with("weights", std::vector<uint8_t>{0, 1, 0, 2}), HasSubstr("weights[3] = 2"));
  EXPECT_THAT(with("weight_table", std::vector<float>{1, 0}), HasSubstr("0 as the first"));
  EXPECT_THAT(with("weight_table", std::vector<float>{0, -1}), HasSubstr("weight_table[1] = -1"));
  EXPECT_THAT(with("weight_table", std::vector<float>{0, NAN}), HasSubstr("weight_table[1]"));
  EXPECT_THAT(with("weight_table", std::vector<float>(257, 0)), HasSubstr("257 entries"));
  EXPECT_THAT(with("prompt_length", std::vector<int64_t>{1, 3}), HasSubstr("prompt_length[1] = 3"));
  EXPECT_THAT(with("tags", std::vector<uint16_t>{1}), HasSubstr("tag_names has 1 entries"));
  EXPECT_THAT(with("example_id", std::vector<uint64_t>{1}), HasSubstr("1 rows, 2 were expected"));

  const auto attribute = [&](const char* name, auto value) {
    return refusal([&](Hdf5File& file) { file.set_attribute(name, value); }, {});
  };
  EXPECT_THAT(attribute("format", "rondo.packed"), HasSubstr("\"rondo.packed\""));
  EXPECT_THAT(attribute("version", int64_t{1}), HasSubstr("version 1"));
  EXPECT_THAT(attribute("tokenizer_hash", "xyz"), HasSubstr("32 hexadecimal digits"));
  EXPECT_THAT(attribute("vocab_size", int64_t{0}), HasSubstr("0 ids"));
  EXPECT_THAT(attribute("end_of_turn_id", int64_t{10}), HasSubstr("end_of_turn_id is 10"));
}

}  // namespace
}  // namespace rondo::data

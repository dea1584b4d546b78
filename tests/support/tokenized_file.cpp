#include "support/tokenized_file.hpp"

#include <fmt/format.h>

#include "base/random.hpp"
#include "storage/hdf5.hpp"

namespace rondo::test {

namespace {

// Two turns, cut where the weights begin; each token is a word.
std::string words_of_tokens(const TokenizedExample& example) {
  std::string words = "u";
  bool answer = false;
  for (size_t t = 0; t < example.tokens.size(); ++t) {
    if (!answer && example.codes[t] != 0) {
      words += "\na";
      answer = true;
    }
    words += fmt::format(" {}", example.tokens[t]);
  }
  return words;
}

}  // namespace

void write_tokenized(const std::string& path, const TokenizedContent& content) {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> codes;
  std::vector<int64_t> offsets = {0};
  std::vector<uint64_t> ids;
  std::vector<int64_t> prompt_lengths;
  std::vector<uint8_t> words;
  std::vector<int64_t> word_offsets = {0};
  std::vector<int64_t> rows;
  for (const TokenizedExample& example : content.examples) {
    tokens.insert(tokens.end(), example.tokens.begin(), example.tokens.end());
    codes.insert(codes.end(), example.codes.begin(), example.codes.end());
    offsets.push_back(static_cast<int64_t>(tokens.size()));
    ids.push_back(example.id);
    int64_t prompt = 0;
    for (const uint8_t code : example.codes) {
      if (content.weight_table.at(code) > 0) break;
      ++prompt;
    }
    prompt_lengths.push_back(prompt);
    const std::string text = example.words.empty() ? words_of_tokens(example) : example.words;
    words.insert(words.end(), text.begin(), text.end());
    word_offsets.push_back(static_cast<int64_t>(words.size()));
    rows.push_back(static_cast<int64_t>(rows.size()) + 1);
  }
  storage::Hdf5File file = storage::Hdf5File::create(path);
  file.set_attribute("format", "rondo.tokenized");
  file.set_attribute("version", int64_t{2});
  file.set_attribute("tokenizer_hash", content.tokenizer_hash);
  file.set_attribute("template_hash", content.template_hash);
  file.set_attribute("settings_hash", content.settings_hash);
  file.set_attribute("vocab_size", content.vocab);
  file.set_attribute("end_of_turn_id", content.end_of_turn);
  file.set_attribute("source_files", "[]");
  file.set_attribute("counts", "{}");
  file.set_attribute("tag_names", "[]");
  file.write_all("tokens", tokens);
  file.write_all("weights", codes);
  file.write_all("weight_table", content.weight_table);
  file.write_all("offsets", offsets);
  file.write_all("example_id", ids);
  file.write_all("prompt_length", prompt_lengths);
  file.write_all("words", words);
  file.write_all("word_offsets", word_offsets);
  file.write_all("file", std::vector<uint16_t>(rows.size(), 0));
  file.write_all("row", content.rows.empty() ? rows : content.rows);
  file.write_all("tag_offsets", std::vector<int64_t>(rows.size() + 1, 0));
  file.write_all("tags", std::vector<uint16_t>());
  file.close();
}

TokenizedContent random_tokenized(uint64_t seed, int64_t count, int64_t shortest, int64_t longest,
                                  int64_t vocab) {
  const base::Random random(seed, "tokenised examples");
  uint64_t at = 0;
  TokenizedContent content;
  content.vocab = vocab;
  for (int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<size_t>(shortest) +
                        random.below(static_cast<uint64_t>(longest - shortest + 1), at++);
    const size_t prompt = 1 + random.below(length / 2, at++);
    TokenizedExample example;
    for (size_t t = 0; t < length; ++t) {
      example.tokens.push_back(
          static_cast<int32_t>(random.below(static_cast<uint64_t>(vocab), at++)));
      example.codes.push_back(t < prompt ? 0 : 1);
    }
    example.id = random.bits(at++);
    content.examples.push_back(example);
  }
  return content;
}

}  // namespace rondo::test

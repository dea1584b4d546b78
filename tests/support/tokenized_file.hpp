// Small tokenised files (docs/formats/tokenized.md) for tests, written from memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo::test {

struct TokenizedExample {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> codes;  // by token: its weight as a prediction target
  uint64_t id = 0;
  std::string words{};  // of its turns; "": words made of its tokens
};

struct TokenizedContent {
  std::vector<TokenizedExample> examples;
  std::vector<float> weight_table = {0.0F, 1.0F};
  int64_t vocab = 100;
  int64_t end_of_turn = -1;
  std::string tokenizer_hash = std::string(32, 'a');
  std::string template_hash = std::string(32, 'b');
  std::string settings_hash = std::string(32, 'c');
  std::vector<int64_t> rows{};  // by example: where it comes from; empty: 1, 2, ...
};

void write_tokenized(const std::string& path, const TokenizedContent& content);

// Examples of shortest to longest tokens (at least 2): a prompt of up to half of them, then trained
// tokens of weight 1. Ids are below `vocab`; example ids are unique for different seeds.
TokenizedContent random_tokenized(uint64_t seed, int64_t count, int64_t shortest, int64_t longest,
                                  int64_t vocab = 100);

}  // namespace rondo::test

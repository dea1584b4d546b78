// Writer of tokenised files (`rondo.tokenized`, docs/formats/tokenized.md) of examples that the
// program has made itself; those of texts are written by tools/tokenize.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenized.hpp"

namespace rondo::data {

struct NewExample {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> codes;  // by token: its weight as a prediction target
  std::string words;           // of its turns
  Origin origin;
  std::vector<uint16_t> tags;  // in tag_names
};

struct NewTokenized {
  TokenizedInfo info;  // file_bytes is not written
  std::vector<float> weight_table = {0.0F, 1.0F};
  std::vector<std::string> tag_names;
  std::vector<NewExample> examples;  // each with a trained token behind its first one
};

// Replaces `path` durably. Example ids are made as the page of the format says. Called on one rank.
void write_tokenized(const std::string& path, const NewTokenized& content);

}  // namespace rondo::data

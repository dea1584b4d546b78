// What the documents of a source are like: lengths, turns, scripts, tags. Counts alone, so that
// parts that ranks have counted add up to the same whole for any number of ranks.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace rondo::data {

struct Figures {
  // By the least length of a class of lengths in tokens (length_class): documents.
  std::map<int64_t, int64_t> lengths;
  std::map<int64_t, int64_t> turns;  // by turns of user and assistant: documents
  // By script: letters and signs in the words (docs/formats/tokenized.md); "ASCII" holds digits
  // and signs too.
  std::map<std::string, int64_t, std::less<>> scripts;
  std::map<std::string, int64_t, std::less<>> tags;  // documents; one may have several or none
  int64_t words = 0;

  // Counts `times` documents of so many tokens and these words.
  void add(int64_t tokens, std::string_view words_of_turns, int64_t times);
  nlohmann::json to_json() const;
};

// The least length of the class that a length falls into: four classes to each power of two, such
// as 16, 20, 24, 28, 32, 40. Lengths are at least 1.
int64_t length_class(int64_t length);

// Adds numbers at equal places of two trees of JSON objects; what one lacks is taken over.
void add_counts(nlohmann::json& sum, const nlohmann::json& part);

}  // namespace rondo::data

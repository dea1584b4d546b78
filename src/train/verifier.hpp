// Whether a completion is right, by the reference answer of its prompt. Pure.
#pragma once

#include <optional>
#include <regex>
#include <string>
#include <string_view>

#include "train/config.hpp"

namespace rondo::train {

class Verifier {
 public:
  // Of a section that names no command. UserError for a pattern that is none.
  explicit Verifier(const VerifySection& section);

  // exact:   the texts are the same but for white space around them.
  // numeric: their last numbers are the same, to 1e-6 of the larger; "1,234.5" is a number.
  // regex:   so is the last match of the pattern in each, or its first group where it has one. Of
  //          longer texts the last kMostCharacters bytes are looked at.
  // A reference without a number, or a match, makes nothing right.
  bool right(std::string_view completion, std::string_view reference) const;

  static constexpr size_t kMostCharacters = 20'000;

 private:
  std::string how_;
  std::optional<std::regex> pattern_;
};

// The last number of a text.
std::optional<double> last_number(std::string_view text);

}  // namespace rondo::train

#include "train/verifier.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/error.hpp"

namespace rondo::train {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::optional<std::string> last_match(std::string_view text, const std::regex& pattern) {
  if (text.size() > Verifier::kMostCharacters) {
    text.remove_prefix(text.size() - Verifier::kMostCharacters);
  }
  std::optional<std::string> last;
  const std::string whole(text);
  for (std::sregex_iterator match(whole.begin(), whole.end(), pattern), end; match != end;
       ++match) {
    last = match->size() > 1 ? match->str(1) : match->str();
  }
  return last;
}

}  // namespace

std::optional<double> last_number(std::string_view text) {
  // From behind: digits with points and commas between them, and a sign before.
  size_t end = text.size();
  while (end > 0 && !is_digit(text[end - 1])) --end;
  if (end == 0) return {};
  size_t begin = end;
  const auto joins = [&](size_t i) {
    return (text[i] == '.' || text[i] == ',') && i > 0 && is_digit(text[i - 1]);
  };
  while (begin > 0 && (is_digit(text[begin - 1]) || joins(begin - 1))) --begin;
  if (begin > 0 && text[begin - 1] == '.') --begin;  // ".5"
  if (begin > 0 && text[begin - 1] == '-') --begin;
  std::string number(text.substr(begin, end - begin));
  std::erase(number, ',');
  const double value = std::strtod(number.c_str(), nullptr);
  if (!std::isfinite(value)) return {};
  return value;
}

Verifier::Verifier(const VerifySection& section) : how_(section.how) {
  RONDO_CHECK(how_ != "command", "a command is not run here");
  if (how_ != "regex") return;
  try {
    pattern_.emplace(section.pattern, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    base::fail_user("{}: regex: '{}' is not a regular expression ({}).", section.place,
                    section.pattern, error.what());
  }
}

bool Verifier::right(std::string_view completion, std::string_view reference) const {
  if (how_ == "exact") return trimmed(completion) == trimmed(reference);
  if (how_ == "numeric") {
    const auto found = last_number(completion);
    const auto expected = last_number(reference);
    if (!found || !expected) return false;
    return std::abs(*found - *expected) <=
           1e-6 * std::max({std::abs(*found), std::abs(*expected), 1e-300});
  }
  const auto found = last_match(completion, *pattern_);
  return found && found == last_match(reference, *pattern_);
}

}  // namespace rondo::train

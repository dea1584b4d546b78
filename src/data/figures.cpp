#include "data/figures.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "base/error.hpp"
#include "base/utf8.hpp"

namespace rondo::data {

namespace {

struct Script {
  uint32_t first;
  uint32_t last;
  std::string_view name;
};

// Blocks of Unicode 15 by the script of most of their letters, ascending.
constexpr std::array kScripts = {
    Script{0x00080, 0x0024F, "Latin"},    Script{0x00370, 0x003FF, "Greek"},
    Script{0x00400, 0x0052F, "Cyrillic"}, Script{0x00530, 0x0058F, "Armenian"},
    Script{0x00590, 0x005FF, "Hebrew"},   Script{0x00600, 0x008FF, "Arabic"},
    Script{0x00900, 0x00DFF, "Indic"},    Script{0x00E00, 0x00EFF, "Thai and Lao"},
    Script{0x00F00, 0x00FFF, "Tibetan"},  Script{0x01000, 0x0109F, "Myanmar"},
    Script{0x010A0, 0x010FF, "Georgian"}, Script{0x01100, 0x011FF, "Hangul"},
    Script{0x01200, 0x0139F, "Ethiopic"}, Script{0x01780, 0x017FF, "Khmer"},
    Script{0x01E00, 0x01EFF, "Latin"},    Script{0x01F00, 0x01FFF, "Greek"},
    Script{0x02000, 0x02BFF, "symbols"},  Script{0x03005, 0x03007, "Han"},
    Script{0x03040, 0x030FF, "Kana"},     Script{0x03130, 0x0318F, "Hangul"},
    Script{0x03400, 0x09FFF, "Han"},      Script{0x0AC00, 0x0D7FF, "Hangul"},
    Script{0x0F900, 0x0FAFF, "Han"},      Script{0x1F000, 0x1FAFF, "symbols"},
    Script{0x20000, 0x3FFFF, "Han"}};

constexpr std::string_view kOther = "other";

std::string_view script_of(uint32_t code_point) {
  const auto* after =
      std::upper_bound(kScripts.begin(), kScripts.end(), code_point,
                       [](uint32_t c, const Script& script) { return c < script.first; });
  if (after == kScripts.begin() || (after - 1)->last < code_point) return kOther;
  return (after - 1)->name;
}

nlohmann::json as_json(const auto& counts) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [key, count] : counts) object[fmt::format("{}", key)] = count;
  return object;
}

}  // namespace

void Figures::add(int64_t tokens, std::string_view words_of_turns, int64_t times) {
  lengths[length_class(tokens)] += times;
  int64_t lines = words_of_turns.empty() ? 0 : 1;
  int64_t ascii = 0;
  bool head = true;  // the letter of the role
  for (size_t at = 0; at < words_of_turns.size();) {
    const char c = words_of_turns[at];
    if (c == '\n') {
      ++lines;
      head = true;
      ++at;
    } else if (head) {
      head = false;
      ++at;
    } else if (c == ' ') {
      words += times;
      ++at;
    } else if (static_cast<uint8_t>(c) < 0x80) {
      ++ascii;
      ++at;
    } else {
      const base::Character character = base::first_character(words_of_turns.substr(at));
      at += character.bytes;
      const std::string_view script = character.code ? script_of(*character.code) : kOther;
      auto found = scripts.find(script);
      if (found == scripts.end()) found = scripts.emplace(script, 0).first;
      found->second += times;
    }
  }
  if (ascii > 0) scripts["ASCII"] += times * ascii;
  turns[lines] += times;
}

nlohmann::json Figures::to_json() const {
  return {{"lengths", as_json(lengths)},
          {"turns", as_json(turns)},
          {"scripts", as_json(scripts)},
          {"tags", as_json(tags)},
          {"words", words}};
}

int64_t length_class(int64_t length) {
  RONDO_CHECK(length >= 1);
  const int quarter = static_cast<int>(std::bit_width(static_cast<uint64_t>(length))) -
                      3;  // log2 of a class's width
  return quarter <= 0 ? length : length >> quarter << quarter;
}

void add_counts(nlohmann::json& sum, const nlohmann::json& part) {
  for (const auto& [key, value] : part.items()) {
    if (!sum.contains(key)) {
      sum[key] = value;
    } else if (value.is_object()) {
      add_counts(sum[key], value);
    } else {
      sum[key] = sum[key].get<int64_t>() + value.get<int64_t>();
    }
  }
}

}  // namespace rondo::data

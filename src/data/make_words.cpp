#include "data/make_words.hpp"

#include <clocale>
#include <cwctype>
#include <optional>

#include "base/utf8.hpp"

namespace rondo::data {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f); }

// Written without spaces: each character is a word.
bool is_unspaced(uint32_t code) {
  const auto in = [&](uint32_t first, uint32_t last) { return first <= code && code <= last; };
  return in(0x0e00, 0x0eff) || in(0x1000, 0x109f) || in(0x1780, 0x17ff) || in(0x3005, 0x3007) ||
         in(0x3040, 0x30ff) || in(0x3400, 0x9fff) || in(0xf900, 0xfaff) || in(0x20000, 0x3ffff);
}

void append_utf8(std::string& text, uint32_t code) {
  const auto more = [&](uint32_t bits) { text += static_cast<char>(0x80U | (bits & 0x3fU)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0U | (code >> 6));
    more(code);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0U | (code >> 12));
    more(code >> 6);
    more(code);
  } else {
    text += static_cast<char>(0xf0U | (code >> 18));
    more(code >> 12);
    more(code >> 6);
    more(code);
  }
}

// Kinds of characters, whatever the locale of the process.
class Kinds {
 public:
  Kinds() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}
  ~Kinds() {
    if (locale_ != nullptr) ::freelocale(locale_);
  }
  Kinds(const Kinds&) = delete;
  Kinds& operator=(const Kinds&) = delete;

  // Where the locale is lacking every character is a letter of its own case.
  bool is_letter(uint32_t code) const {
    return locale_ == nullptr || ::iswalnum_l(static_cast<wint_t>(code), locale_) != 0;
  }
  bool is_symbol(uint32_t code) const {
    return locale_ != nullptr && ::iswpunct_l(static_cast<wint_t>(code), locale_) != 0 &&
           code >= 0x2190;  // below lie punctuation marks
  }
  uint32_t lower(uint32_t code) const {
    if (locale_ == nullptr) return code;
    return static_cast<uint32_t>(::towlower_l(static_cast<wint_t>(code), locale_));
  }

 private:
  locale_t locale_;
};

// Lower case; characters beyond ASCII that are no letters become spaces, or words.
std::string folded(std::string_view text) {
  static const Kinds kinds;
  std::string plain;
  plain.reserve(text.size());
  while (!text.empty()) {
    const base::Character character = base::first_character(text);
    text.remove_prefix(character.bytes);
    const uint32_t code = character.code.value_or(' ');
    if (code < 0x80) {
      plain += static_cast<char>(code >= 'A' && code <= 'Z' ? code + 32 : code);
    } else if (code == 0x2212) {
      plain += '-';
    } else if (is_unspaced(code) || kinds.is_symbol(code)) {
      plain += ' ';
      append_utf8(plain, code);
      plain += ' ';
    } else if (kinds.is_letter(code)) {
      append_utf8(plain, kinds.lower(code));
    } else {
      plain += ' ';
    }
  }
  return plain;
}

// Whether a point or comma at `i` stands between digits, or a sign there in front of a number.
bool is_kept(std::string_view text, size_t i) {
  const char c = text[i];
  if (c == '.' || c == ',') {
    if (i > 0 && is_digit(text[i - 1]) && i + 1 < text.size() && is_digit(text[i + 1])) return true;
    return false;
  }
  if (std::string_view("+-*/=<>^").find(c) == std::string_view::npos) return false;
  size_t next = i + 1;
  while (next < text.size() && is_space(text[next])) ++next;
  return next < text.size() && is_digit(text[next]);
}

}  // namespace

std::string words_of(std::string_view text) {
  const std::string plain = folded(text);
  std::string words;
  bool apart = false;  // from the word before
  const auto put = [&](char c) {
    if (apart && !words.empty()) words += ' ';
    apart = false;
    words += c;
  };
  for (size_t i = 0; i < plain.size(); ++i) {
    const char c = plain[i];
    const bool letter = (c >= 'a' && c <= 'z') || is_digit(c) || (static_cast<uint8_t>(c) & 0x80U);
    if (letter) {
      put(c);
    } else if (is_kept(plain, i)) {
      const bool within = c == '.' || c == ',';
      apart = apart || !within;
      put(c);
      apart = !within;
    } else {
      apart = true;
    }
  }
  return words;
}

}  // namespace rondo::data

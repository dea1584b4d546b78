// Characters of UTF-8 text, valid or not (RFC 3629).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rondo::base {

struct Character {
  size_t bytes = 0;              // that it takes, at least 1
  std::optional<uint32_t> code;  // none: these bytes are no character
};

// The first character of a text that is not empty. Where there is none, the bytes up to the first
// that cannot continue what is begun.
Character first_character(std::string_view text);

// The text as a terminal and every reader of a log can take it: bytes that are no character, and
// control characters besides tabs and ends of lines, as \xb6.
std::string printable(std::string_view text);

}  // namespace rondo::base
